import { table } from '../table.ts';
import type { GateReport } from './report.ts';

/** Above this load for each core, other work takes part in the figures. */
const QUIET_LOAD_MAX = 0.25;
const LABELS: readonly (readonly [figure: string, label: string])[] = [
  ['floor/map/lookups_per_second', 'a bare map, by the same keys: the floor'],
  ['warm/thing-publish/decisions_per_second', 'a thing publishes, by a connection'],
  ['warm/thing-publish-subtopic-address/decisions_per_second', 'the same, 20 policies with subtopic and address'],
  ['warm/key-publish/decisions_per_second', 'an API key publishes, the same'],
  ['warm/user-control/decisions_per_second', 'a user on the control plane'],
  ['warm/key-control/decisions_per_second', 'an API key on the control plane'],
];
const COLD = [
  ['identify-key', 'a key is identified'],
  ['thing', 'a thing publishes: channel, rules, Casbin'],
  ['user', 'a user on the control plane: rules, Casbin'],
] as const;

/** The report for people. Medians of the rounds. */
export function formatGateReport({ figures, machine, settings, targets }: GateReport): string {
  const at = (name: string): number => figures[name]?.median ?? Number.NaN;
  const floor = at('floor/map/lookups_per_second');
  return [
    `Millrace, the gate: medians of ${settings.rounds} rounds; ${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${machine.platform}`,
    ...(machine.loadBefore > machine.cores * QUIET_LOAD_MAX
      ? [
          `The machine was NOT QUIET before the run (load ${machine.loadBefore}): take no figure for the machine's best.`,
        ]
      : []),
    '',
    table([
      ['Warm decisions, one thread', '1/s', 'ns', 'of the floor', '±'],
      ...LABELS.map(([name, label]) => [
        label,
        whole(at(name)),
        (1e9 / at(name)).toFixed(0),
        (at(name) / floor).toFixed(2),
        `${((figures[name]?.spread ?? 0) * 100).toFixed(0)} %`,
      ]),
    ]),
    '',
    table([
      [`Cold, ${whole(settings.policies)} policies in PostgreSQL, one after the other`, 'p50', 'p99', 'rules'],
      ...COLD.map(([name, label]) => [
        label,
        ms(at(`cold/${name}/p50`)),
        ms(at(`cold/${name}/p99`)),
        figures[`cold/${name}/rules`] === undefined ? '' : whole(at(`cold/${name}/rules`)),
      ]),
    ]),
    '',
    table([
      [`Memory of a principal with one answer, of ${whole(settings.cachedPrincipals)}`, 'B'],
      ['a thing with a connection', whole(at('memory/thing/bytes_per_principal'))],
      ['the same with 20 policies (40 rules)', whole(at('memory/thing-with-20-policies/bytes_per_principal'))],
    ]),
    '',
    table([
      ['Targets', 'found', 'target', ''],
      ...targets.map(({ name, unit, value, bound, atLeast, reached }) => [
        name,
        value === null ? '–' : `${value >= 100 ? whole(value) : value.toPrecision(3)} ${unit}`,
        `${atLeast ? '≥' : '≤'} ${whole(bound)} ${unit}`,
        reached === null ? 'not measured' : reached ? 'reached' : 'MISSED',
      ]),
    ]),
    '',
  ].join('\n');
}

const whole = (value: number): string => (Number.isNaN(value) ? '–' : Math.round(value).toLocaleString('en-US'));
const ms = (value: number): string => (Number.isNaN(value) ? '–' : `${value.toFixed(2)} ms`);
