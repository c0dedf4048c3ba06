import type { BatchTally, DeadReason } from '@millrace/core';

/** Counts what became of the messages of a batch. */
export class Tally {
  messages = 0;
  filtered = 0;
  #readings = 0;
  #stored = 0;
  readonly #dropped: Record<string, number> = {};
  readonly #dead: Record<string, number> = {};
  readonly #deadRecords: Record<string, number> = {};

  keep(readings: number): void {
    this.messages++;
    this.#stored++;
    this.#readings += readings;
  }
  drop(reason: string): void {
    this.messages++;
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1;
  }
  bury(reason: DeadReason): void {
    this.messages++;
    this.#dead[reason] = (this.#dead[reason] ?? 0) + 1;
  }
  buryRecord(reason: DeadReason): void {
    this.#deadRecords[reason] = (this.#deadRecords[reason] ?? 0) + 1;
  }
  close(): BatchTally {
    return {
      messages: this.messages,
      readings: this.#readings,
      stored: this.#stored,
      dropped: this.#dropped,
      dead: this.#dead,
      deadRecords: this.#deadRecords,
      filteredReadings: this.filtered,
    };
  }
}
