// hot

/** More than any request of ours wants; a message with more is refused as malformed. */
export const OPTIONS_MAX = 64;
const TOKEN_BYTES_MAX = 8;

/** Reads a datagram without taking it apart: options stay where they are, as offsets. One object for many datagrams: what it
 *  found is good until the next `scan`.  @source RFC 7252 §3 */
export class MessageScanner {
  type = 0;
  code = 0;
  messageId = 0;
  tokenSize = 0;
  optionCount = 0;
  readonly numbers = new Uint16Array(OPTIONS_MAX);
  /** Where the option's header starts. */
  readonly headers = new Uint32Array(OPTIONS_MAX);
  /** Where its value starts and ends. */
  readonly starts = new Uint32Array(OPTIONS_MAX);
  readonly ends = new Uint32Array(OPTIONS_MAX);
  /** Where the payload starts; the end of the datagram without one. */
  payloadAt = 0;

  /** @returns false if it is not well-formed. Type, code and message id are told even then if there are four bytes of the
   *  right version.  @throws never */
  scan(bytes: Uint8Array): boolean {
    const { length } = bytes;
    this.optionCount = 0;
    this.tokenSize = 0;
    this.payloadAt = length;
    const first = length < 4 ? 0 : (bytes[0] as number);
    if (first >> 6 !== 1) {
      this.type = -1;
      return false;
    }
    this.type = (first >> 4) & 3;
    this.code = bytes[1] as number;
    this.messageId = ((bytes[2] as number) << 8) | (bytes[3] as number);
    const tokenSize = first & 15;
    if (this.code === 0) return length === 4 && tokenSize === 0;
    let at = 4 + tokenSize;
    if (tokenSize > TOKEN_BYTES_MAX || at > length) return false;
    this.tokenSize = tokenSize;
    let number = 0;
    let count = 0;
    while (at < length) {
      const header = at;
      const head = bytes[at++] as number;
      if (head === 0xff) {
        if (at === length) return false;
        this.payloadAt = at;
        break;
      }
      let delta = head >> 4;
      let size = head & 15;
      if (delta > 12) {
        if (delta === 15) return false;
        if (delta === 13) {
          if (at >= length) return false;
          delta = 13 + (bytes[at++] as number);
        } else {
          if (at + 1 >= length) return false;
          delta = 269 + (((bytes[at] as number) << 8) | (bytes[at + 1] as number));
          at += 2;
        }
      }
      if (size > 12) {
        if (size === 15) return false;
        if (size === 13) {
          if (at >= length) return false;
          size = 13 + (bytes[at++] as number);
        } else {
          if (at + 1 >= length) return false;
          size = 269 + (((bytes[at] as number) << 8) | (bytes[at + 1] as number));
          at += 2;
        }
      }
      number += delta;
      if (at + size > length || number > 0xffff || count === OPTIONS_MAX) return false;
      this.numbers[count] = number;
      this.headers[count] = header;
      this.starts[count] = at;
      at += size;
      this.ends[count++] = at;
    }
    this.optionCount = count;
    return true;
  }
}
