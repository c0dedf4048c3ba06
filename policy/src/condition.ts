import { BlockList, isIP } from 'node:net';
import { type Condition, protocolNames } from '@millrace/core';
import { z } from 'zod';
import { PolicyError } from './errors.ts';

/** What a condition is judged by. `null` where it is not known: a worker knows no address. */
export interface Circumstances {
  readonly protocol: string;
  readonly remoteAddress: string | null;
  readonly tls: boolean | null;
  readonly mutualTls: boolean | null;
  readonly nowMs: number;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  /** Of the message; null where the request is about no message. */
  readonly subtopic: string | null;
  /** The group that the object is in and those above it. */
  readonly groups: readonly string[];
}

/** Bits of what an answer depends on. Metadata is no part: a subject's change voids all its answers. */
export const PART_PROTOCOL = 1;
export const PART_ADDRESS = 2;
export const PART_TLS = 4;
export const PART_MUTUAL_TLS = 8;
export const PART_TIME = 16;
export const PART_SUBTOPIC = 32;

/** Three values: what rests on something unknown is 'unknown'. */
export type Truth = 'yes' | 'no' | 'unknown';

/** A condition made ready. */
export interface ReadyCondition {
  readonly parts: number;
  holds(circumstances: Circumstances): Truth;
  /** Start of the constant stretch around a moment. */
  fromMs(nowMs: number): number;
  /** End of it, exclusive. */
  untilMs(nowMs: number): number;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const DEPTH_MAX = 8;
const minuteText = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/);
const moment = z.iso.datetime({ offset: true });
const SUBTOPIC_SIZE_MAX = 1_024;
const subtopicText = z
  .string()
  .max(SUBTOPIC_SIZE_MAX)
  .refine(isSubtopicPattern, '+ must be a whole segment, # the last one');
const addressText = z.string().refine((text) => readBlock(text) !== null, 'no address and no CIDR block');

/** The conditions that a rule may carry. Unknown members are refused: they would be read as "no condition". */
export const ConditionSchema: z.ZodType<Condition> = z.strictObject({
  protocol: z.array(z.enum(protocolNames)).min(1).exactOptional(),
  address: z.array(addressText).min(1).max(1_000).exactOptional(),
  tls: z.boolean().exactOptional(),
  mutualTls: z.boolean().exactOptional(),
  time: z.strictObject({ from: moment.exactOptional(), to: moment.exactOptional() }).exactOptional(),
  hours: z
    .strictObject({
      from: minuteText,
      to: minuteText,
      days: z.array(z.int().min(1).max(7)).min(1).exactOptional(),
    })
    .exactOptional(),
  subtopic: z.array(subtopicText).min(1).max(100).exactOptional(),
  metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).exactOptional(),
  get not() {
    return ConditionSchema.exactOptional();
  },
});

/** Checks and writes a condition as a rule keeps it.  @throws PolicyError CONDITION_INVALID */
export function conditionText(condition: unknown): string {
  const read = isOdd(condition) ? null : ConditionSchema.safeParse(condition);
  if (read?.success) return JSON.stringify(read.data);
  const issue = read?.error.issues[0];
  const problem =
    issue === undefined ? 'nested too deeply, or names __proto__' : `${issue.path.join('.')}: ${issue.message}`;
  throw new PolicyError('CONDITION_INVALID', 'never', { problem });
}

/** @holds what rests on something unknown never lets in: an allow does not apply, a deny does */
export function applies(condition: ReadyCondition, effect: string, circumstances: Circumstances): boolean {
  const held = condition.holds(circumstances);
  return held === 'yes' || (held === 'unknown' && effect === 'deny');
}

const ALWAYS: ReadyCondition = {
  parts: 0,
  holds: () => 'yes',
  fromMs: () => Number.NEGATIVE_INFINITY,
  untilMs: () => Number.POSITIVE_INFINITY,
};
/** What can't be read is unknown for ever: no allow with it applies, each deny does. */
const UNREADABLE: ReadyCondition = { ...ALWAYS, holds: () => 'unknown' };

const READY_COUNT_MAX = 4_096;
const ready = new Map<string, ReadyCondition>();

/** A rule's condition, read once.  @throws never: one that can't be read lets nobody in */
export function readCondition(text: string): ReadyCondition {
  if (text === '') return ALWAYS;
  let condition = ready.get(text);
  if (condition === undefined) {
    condition = parse(text);
    if (ready.size >= READY_COUNT_MAX) ready.clear();
    ready.set(text, condition);
  }
  return condition;
}

function parse(text: string): ReadyCondition {
  try {
    const value: unknown = JSON.parse(text);
    if (isOdd(value)) return UNREADABLE;
    const read = ConditionSchema.safeParse(value);
    return read.success ? build(read.data) : UNREADABLE;
  } catch {
    return UNREADABLE;
  }
}

/** Whether it nests too deeply, or names what objects themselves are made of: the schema passes such a member over. */
function isOdd(value: unknown): boolean {
  let at = value;
  for (let depth = 0; depth <= DEPTH_MAX; depth++) {
    if (typeof at !== 'object' || at === null) return false;
    const { metadata, not } = at as { metadata?: unknown; not?: unknown };
    if (Object.hasOwn(at, '__proto__')) return true;
    if (typeof metadata === 'object' && metadata !== null && Object.hasOwn(metadata, '__proto__')) return true;
    at = not;
  }
  return true;
}

function build(condition: Condition): ReadyCondition {
  const all: ReadyCondition[] = [];
  const { protocol, address, tls, mutualTls, time, hours, subtopic, metadata, not } = condition;
  if (protocol !== undefined) all.push(untimed(PART_PROTOCOL, (at) => truth(protocol.includes(at.protocol))));
  if (address !== undefined) {
    const within = addressTest(address);
    all.push(untimed(PART_ADDRESS, (at) => (at.remoteAddress === null ? 'unknown' : within(at.remoteAddress))));
  }
  if (tls !== undefined) all.push(untimed(PART_TLS, (at) => (at.tls === null ? 'unknown' : truth(at.tls === tls))));
  if (mutualTls !== undefined) {
    all.push(untimed(PART_MUTUAL_TLS, (at) => (at.mutualTls === null ? 'unknown' : truth(at.mutualTls === mutualTls))));
  }
  if (subtopic !== undefined) {
    const within = subtopicTest(subtopic);
    all.push(untimed(PART_SUBTOPIC, (at) => (at.subtopic === null ? 'unknown' : truth(within(at.subtopic)))));
  }
  if (metadata !== undefined) {
    const wanted = Object.entries(metadata);
    all.push(
      untimed(0, (at) => {
        const given = at.metadata;
        if (given === null) return 'unknown';
        return truth(wanted.every(([name, value]) => Object.hasOwn(given, name) && given[name] === value));
      }),
    );
  }
  if (time !== undefined) all.push(period(time));
  if (hours !== undefined) all.push(daily(hours));
  if (not !== undefined) all.push(negated(build(not)));
  return conjunction(all);
}

const truth = (value: boolean): Truth => (value ? 'yes' : 'no');

const untimed = (parts: number, holds: (circumstances: Circumstances) => Truth): ReadyCondition => ({
  ...ALWAYS,
  parts,
  holds,
});

function period(time: { readonly from?: string; readonly to?: string }): ReadyCondition {
  const from = time.from === undefined ? Number.NEGATIVE_INFINITY : Date.parse(time.from);
  const to = time.to === undefined ? Number.POSITIVE_INFINITY : Date.parse(time.to);
  const edges = [from, to].toSorted((a, b) => a - b);
  return {
    parts: PART_TIME,
    holds: ({ nowMs }) => truth(nowMs >= from && nowMs < to),
    fromMs: (nowMs) => edges.findLast((edge) => edge <= nowMs) ?? Number.NEGATIVE_INFINITY,
    untilMs: (nowMs) => edges.find((edge) => edge > nowMs) ?? Number.POSITIVE_INFINITY,
  };
}

function daily(hours: {
  readonly from: string;
  readonly to: string;
  readonly days?: readonly number[];
}): ReadyCondition {
  const from = minutesOf(hours.from) * MINUTE_MS;
  const to = minutesOf(hours.to) * MINUTE_MS;
  const opens = (day: number): boolean => hours.days === undefined || hours.days.includes(day);
  const edges = [0, from, to, DAY_MS].toSorted((a, b) => a - b);
  return {
    parts: PART_TIME,
    holds: ({ nowMs }) => {
      const midnight = Math.floor(nowMs / DAY_MS) * DAY_MS;
      const at = nowMs - midnight;
      const day = weekdayOf(midnight);
      if (from < to) return truth(at >= from && at < to && opens(day));
      return truth((at >= from && opens(day)) || (at < to && opens(day === 1 ? 7 : day - 1)));
    },
    fromMs: (nowMs) => {
      const midnight = Math.floor(nowMs / DAY_MS) * DAY_MS;
      return midnight + (edges.findLast((edge) => edge <= nowMs - midnight) ?? 0);
    },
    untilMs: (nowMs) => {
      const midnight = Math.floor(nowMs / DAY_MS) * DAY_MS;
      return midnight + (edges.find((edge) => edge > nowMs - midnight) ?? DAY_MS);
    },
  };
}

const minutesOf = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));

/** 1 (Monday) to 7. 1970-01-01 was a Thursday. */
const weekdayOf = (midnightMs: number): number => ((((midnightMs / DAY_MS + 3) % 7) + 7) % 7) + 1;

const NEGATION: Readonly<Record<Truth, Truth>> = { yes: 'no', no: 'yes', unknown: 'unknown' };

const negated = (condition: ReadyCondition): ReadyCondition => ({
  ...condition,
  holds: (circumstances) => NEGATION[condition.holds(circumstances)],
});

function conjunction(all: readonly ReadyCondition[]): ReadyCondition {
  const [first, second] = all;
  if (first === undefined) return ALWAYS;
  if (second === undefined) return first;
  return {
    parts: all.reduce((parts, one) => parts | one.parts, 0),
    holds: (circumstances) => {
      let result: Truth = 'yes';
      for (const one of all) {
        const held = one.holds(circumstances);
        if (held === 'no') return 'no';
        if (held === 'unknown') result = 'unknown';
      }
      return result;
    },
    fromMs: (nowMs) => Math.max(...all.map((one) => one.fromMs(nowMs))),
    untilMs: (nowMs) => Math.min(...all.map((one) => one.untilMs(nowMs))),
  };
}

function isSubtopicPattern(text: string): boolean {
  return text
    .split('/')
    .every((segment, index, { length }) =>
      segment === '#' ? index === length - 1 : segment === '+' || !/[+#]/.test(segment),
    );
}

/** @source MQTT 5.0 §4.7.1; beside that, a message without subtopic has no segment, so `+` does not match it */
function subtopicTest(patterns: readonly string[]): (subtopic: string) => boolean {
  const wanted = patterns.map(segmentsOf);
  return (subtopic) => {
    const given = segmentsOf(subtopic);
    return wanted.some((pattern) => {
      const open = pattern.at(-1) === '#';
      const count = open ? pattern.length - 1 : pattern.length;
      if (open ? given.length < count : given.length !== count) return false;
      for (let index = 0; index < count; index++) {
        if (pattern[index] !== '+' && pattern[index] !== given[index]) return false;
      }
      return true;
    });
  };
}

const segmentsOf = (subtopic: string): readonly string[] => (subtopic === '' ? [] : subtopic.split('/'));

function addressTest(blocks: readonly string[]): (address: string) => Truth {
  const list = new BlockList();
  for (const block of blocks) {
    const read = readBlock(block);
    if (read !== null) list.addSubnet(read.network, read.bits, read.family);
  }
  return (address) => {
    const plain = plainAddress(address);
    const version = isIP(plain);
    if (version === 0) return 'unknown';
    return truth(list.check(plain, version === 4 ? 'ipv4' : 'ipv6'));
  };
}

/** Without zone, and an IPv4 address that came as `::ffff:a.b.c.d` as itself. */
function plainAddress(address: string): string {
  const zone = address.indexOf('%');
  const bare = zone === -1 ? address : address.slice(0, zone);
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare);
  return mapped?.[1] ?? bare;
}

function readBlock(text: string): { network: string; bits: number; family: 'ipv4' | 'ipv6' } | null {
  const slash = text.indexOf('/');
  const network = slash === -1 ? text : text.slice(0, slash);
  const version = isIP(network);
  if (version === 0) return null;
  const bitsMax = version === 4 ? 32 : 128;
  const bitsText = slash === -1 ? String(bitsMax) : text.slice(slash + 1);
  const bits = /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : -1;
  if (bits < 0 || bits > bitsMax) return null;
  return { network, bits, family: version === 4 ? 'ipv4' : 'ipv6' };
}
