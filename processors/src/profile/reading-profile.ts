import { type ChannelProfile, EXPIRES_NEVER, type LowCardinalityColumn } from '@millrace/core';
import { TimeField } from './time.ts';

const DAY_S = 86_400;

/** A channel's profile, ready to be applied to its messages. */
export class ReadingProfile {
  /** null: at reception. */
  readonly time: TimeField | null;
  /** null: all readings are kept. */
  readonly fields: FieldFilter | null;
  readonly keepRaw: boolean;
  readonly #retentionS: number | null;

  constructor({ timeField, timeFormat, fields, keepRaw, retentionDays }: ChannelProfile) {
    this.time = timeField === undefined ? null : new TimeField(timeField, timeFormat);
    this.fields = fields === undefined ? null : new FieldFilter(fields);
    this.keepRaw = keepRaw === true;
    this.#retentionS = retentionDays === undefined ? null : retentionDays * DAY_S;
  }

  /** When what is kept of a message may go.  @units s since 1970 */
  expires(receivedUs: number): number {
    if (this.#retentionS === null) return EXPIRES_NEVER;
    return Math.min(EXPIRES_NEVER, Math.ceil(receivedUs / 1_000_000) + this.#retentionS);
  }
}

/** Which readings a channel keeps, by their names. */
export class FieldFilter {
  readonly #names: ReadonlySet<string>;
  readonly #prefixes: readonly string[];
  /** By the name's index in the dictionary: 0 not looked at, 1 kept, 2 left out. */
  #verdicts = new Uint8Array(64);

  constructor(fields: readonly string[]) {
    this.#names = new Set(fields.filter((field) => !field.endsWith('*')));
    this.#prefixes = fields.filter((field) => field.endsWith('*')).map((field) => field.slice(0, -1));
  }

  /** The dictionary was cleared. */
  restart(): void {
    this.#verdicts.fill(0);
  }

  /** @param index of the name in the dictionary */
  keeps(index: number, dictionary: LowCardinalityColumn): boolean {
    if (index >= this.#verdicts.length) {
      const larger = new Uint8Array(Math.max(index + 1, this.#verdicts.length * 2));
      larger.set(this.#verdicts);
      this.#verdicts = larger;
    }
    let verdict = this.#verdicts[index] as number;
    if (verdict === 0) {
      const name = dictionary.textOf(index);
      verdict = this.#names.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix)) ? 1 : 2;
      this.#verdicts[index] = verdict;
    }
    return verdict === 1;
  }
}

/** Whether a profile asks for anything. */
export const isEmptyProfile = ({ timeField, fields, keepRaw, retentionDays }: ChannelProfile): boolean =>
  timeField === undefined && fields === undefined && keepRaw !== true && retentionDays === undefined;
