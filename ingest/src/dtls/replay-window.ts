const WINDOW = 64;

/** Which of the last 64 records were seen: each is taken once.  @source RFC 6347 §4.1.2.6 */
export class ReplayWindow {
  /** The newest; -1 before the first. */
  #newest = -1;
  /** Bit n: the record n before the newest; `#older` goes on at 32. */
  #recent = 0;
  #older = 0;

  /** False if it was seen, or is too old to tell. Ask before the record is opened. */
  isFresh(sequence: number): boolean {
    const age = this.#newest - sequence;
    if (age < 0) return true;
    if (age >= WINDOW) return false;
    return ((age < 32 ? this.#recent >>> age : this.#older >>> (age - 32)) & 1) === 0;
  }

  /** Of a record that was opened: only what is authentic moves the window.  @returns whether it is the newest */
  accept(sequence: number): boolean {
    const age = this.#newest - sequence;
    if (age >= 0) {
      if (age < 32) this.#recent |= 1 << age;
      else if (age < WINDOW) this.#older |= 1 << (age - 32);
      return false;
    }
    const step = -age;
    if (step >= WINDOW) {
      this.#older = 0;
      this.#recent = 1;
    } else if (step >= 32) {
      this.#older = this.#recent << (step - 32);
      this.#recent = 1;
    } else {
      this.#older = (this.#older << step) | (this.#recent >>> (32 - step));
      this.#recent = (this.#recent << step) | 1;
    }
    this.#newest = sequence;
    return true;
  }
}
