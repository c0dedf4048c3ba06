import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SABOTAGES } from './scenario.ts';
import { runSchedule } from './schedule.ts';

const LONG = process.env.MILLRACE_TEST_LONG === '1';
const REPLAYED = process.env.MILLRACE_TEST_SEED;
const SCHEDULES = LONG ? 2_000_000 : 100_000;
/** The same ones in CI, so that a change is what makes it fail; others each time in the long form. */
const FIRST_SEED = LONG ? Math.floor(Math.random() * 2 ** 30) : 1;
const SABOTAGE_SEEDS_MAX = 20_000;

function explore(): void {
  test(`loses, doubles and reorders nothing in ${SCHEDULES} schedules of faults`, { timeout: 3_600_000 }, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULES; seed++) {
      const violated = runSchedule(seed);
      if (violated !== null)
        throw new Error(`${violated}; replay it: MILLRACE_TEST_SEED=${seed} npx vitest run processors/src/model`);
      // The reporter wants to hear of us.
      if (seed % 1_000 === 0) await setImmediate();
    }
  });

  // A model that nothing fails shows nothing.
  test.each(SABOTAGES)('is violated with %s', { timeout: 120_000 }, async (sabotage) => {
    for (let seed = 1; seed <= SABOTAGE_SEEDS_MAX; seed++) {
      if (runSchedule(seed, sabotage) !== null) return;
      if (seed % 1_000 === 0) await setImmediate();
    }
    throw new Error(`${SABOTAGE_SEEDS_MAX} schedules do without it`);
  });

  test.each([
    ['a range is split', /commits \d+ "intent:\d+-\d+,/],
    ['an heir finds parts, some of them done', /begins at (?!0)\d+ "intent:\d+-\d+,/],
    ['an owner is fenced', /is fenced/],
    ['a message is buried', /buries/],
    ['a view is torn from its table', /tears .* from its view/],
    ['rows are found and told again', /asks readings .*: tell/],
    ['rows are found and not told again', /asks readings .*: there/],
    ['a worker fails', /a worker fails on .*\(hand\)/],
    ['an answer is lost', /hears nothing of its insert/],
    ['a node drains', /! drain/],
    ['the log loses what is not read', /is gone/],
  ])('is tried where %s', (_, event) => {
    let seen = 0;
    for (let seed = 1; seed <= 3_000 && seen < 5; seed++) {
      let happened = false;
      runSchedule(seed, null, (line) => {
        happened ||= event.test(line);
      });
      if (happened) seen++;
    }
    expect(seen).toBe(5);
  });
}

function replay(seed: string): void {
  test(`replays schedule ${seed}`, () => {
    const lines: string[] = [];
    const violated = runSchedule(Number(seed), null, (line) => lines.push(line));
    console.log(lines.join('\n'));
    expect(violated).toBeNull();
  });
}

if (REPLAYED === undefined) explore();
else replay(REPLAYED);
