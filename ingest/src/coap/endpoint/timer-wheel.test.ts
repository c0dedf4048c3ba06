import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Timer, TimerWheel } from './timer-wheel.ts';

class Note extends Timer {
  readonly times: number[] = [];
  readonly work: (() => void) | undefined;
  constructor(work?: () => void) {
    super();
    this.work = work;
  }
  onDue(nowMs: number): void {
    this.times.push(nowMs);
    this.work?.();
  }
}

function clockwork() {
  let nowMs = 5_000;
  const wheel = new TimerWheel(() => nowMs);
  const pass = (ms: number): void => {
    nowMs += ms;
    wheel.advance();
  };
  return { wheel, pass, now: () => nowMs, [Symbol.dispose]: () => wheel.close() };
}

test('a timer is called once, never early and at most a tick late', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 50 }),
      fc.integer({ min: 1, max: 50 }),
      (delays, step) => {
        using clock = clockwork();
        const notes = delays.map((delayMs) => {
          const note = new Note();
          clock.wheel.add(note, delayMs);
          return note;
        });
        const from = clock.now();
        while (clock.wheel.size > 0) clock.pass(step);
        for (const [index, { times }] of notes.entries()) {
          const lateMs = (times[0] as number) - from - (delays[index] as number);
          expect(times.length).toBe(1);
          expect(lateMs).toBeGreaterThanOrEqual(0);
          expect(lateMs).toBeLessThanOrEqual(100 + step);
        }
      },
    ),
    { numRuns: 20 },
  );
});

test('one that was cancelled is not called, even by another of the same moment', () => {
  using clock = clockwork();
  const second = new Note();
  const first = new Note(() => clock.wheel.cancel(second));
  clock.wheel.add(first, 100);
  clock.wheel.add(second, 100);
  const gone = new Note();
  clock.wheel.add(gone, 100);
  clock.wheel.cancel(gone);
  clock.pass(500);
  expect([first.times.length, second.times.length, gone.times.length, clock.wheel.size]).toEqual([1, 0, 0, 0]);
});

test('adding it again moves it', () => {
  using clock = clockwork();
  const note = new Note();
  clock.wheel.add(note, 100);
  clock.wheel.add(note, 10_000);
  clock.pass(1_000);
  expect(note.times).toEqual([]);
  clock.pass(10_000);
  expect(note.times.length).toBe(1);
});

test('one that adds itself again is called once each time', () => {
  using clock = clockwork();
  const note: Note = new Note(() => clock.wheel.add(note, 1_000));
  clock.wheel.add(note, 1_000);
  for (let ms = 0; ms < 10_000; ms += 50) clock.pass(50);
  expect(note.times.length).toBeGreaterThanOrEqual(9);
  expect(note.times.length).toBeLessThanOrEqual(10);
});

test('after a long sleep everything that is due is called', () => {
  using clock = clockwork();
  const notes = Array.from({ length: 1_000 }, (_, index) => {
    const note = new Note();
    clock.wheel.add(note, index * 100);
    return note;
  });
  clock.pass(1_000_000);
  expect(notes.every(({ times }) => times.length === 1)).toBe(true);
});

test('a closed wheel takes nothing', () => {
  const clock = clockwork();
  clock.wheel.close();
  const note = new Note();
  clock.wheel.add(note, 10);
  expect(clock.wheel.size).toBe(0);
});
