import type { LiveEvent } from '@millrace/sdk';
import { MADE, numberOf, questionOf, RANGE, WHICH } from './questions.ts';
import { type Call, type CommandSpecification, text } from './specification.ts';
import { moment, printable } from './table.ts';

async function run(call: Call): Promise<void> {
  const client = await call.client();
  const countMax = numberOf(call, 'count') ?? Number.POSITIVE_INFINITY;
  const from = text(call, 'after');
  const events = client.readings.live(await questionOf(call), {
    signal: call.signal,
    ...(from === undefined ? {} : { from }),
    onOpen: () => call.output.note('following; Ctrl-C ends'),
    onRetry: (error, waitMs) => call.output.note(`${error.message} Again in ${(waitMs / 1_000).toFixed(1)} s.`),
  });
  let count = 0;
  for await (const event of events) {
    for (const row of call.output.json ? rowsOf(event).map((each) => JSON.stringify(each)) : linesOf(event)) {
      await call.output.flushed(`${row}\n`);
      if (++count >= countMax) return;
    }
  }
}

const rowsOf = (event: LiveEvent): readonly object[] => (event.type === 'readings' ? event.readings : [event]);

function linesOf(event: LiveEvent): string[] {
  if (event.type === 'readings')
    return event.readings.map(({ time, name, unit, value, string_value, bool_value, data_value }) =>
      lineOf([moment(time), name, value ?? string_value ?? bool_value ?? data_value, unit]),
    );
  const { time, name, unit, values, revision } = event;
  const numbers = Object.entries(values).map(([each, value]) => `${each}=${JSON.stringify(value)}`);
  return [lineOf([moment(time as never), name, ...numbers, unit, revision === 0 ? undefined : `revision ${revision}`])];
}

const lineOf = (parts: readonly unknown[]): string =>
  parts
    .filter((part) => part !== undefined && part !== '')
    .map((part) => printable(String(part)))
    .join('  ');

export const tail: CommandSpecification = {
  name: 'tail',
  summary: 'readings as they arrive, or buckets of them as they end',
  options: [
    ...WHICH,
    ...RANGE,
    ...MADE,
    { flags: '-n, --count <count>', description: 'end after so many' },
    { flags: '--after <position>', description: 'what follows this position of an earlier event first' },
  ],
  examples: ['millrace tail -c kitchen --name temperature', 'millrace tail -c kitchen --aggregation avg --interval 1m'],
  run,
};
