import type { Millrace } from '../millrace.ts';
import type { Fault } from './fault.ts';
import type { ClusterWorld } from './world.ts';

/** Well beyond a broker's session, when others lead what it led. */
export const LEADERS_MOVE_MS = 20_000;

/** kill -9 and SIGSTOP of each kind of process; which one of several, `index` says. The first six meet each kind. */
export const PROCESS_FAULTS: readonly ((world: ClusterWorld, index: number) => Fault)[] = [
  ({ kafka }, index) => ({
    name: `broker ${index % 3} killed`,
    begin: () => kafka.nodes[index % 3]?.kill(),
    end: async () => {
      await kafka.nodes[index % 3]?.restart();
      await kafka.inSync();
    },
  }),
  ({ processors }, index) => hanging(`processor ${index % 2}`, at(processors, index)),
  ({ ingress }, index) => killed(`ingress ${index % 2}`, at(ingress, index)),
  ({ clickhouse }) => ({
    name: 'ClickHouse killed',
    begin: () => clickhouse.kill(),
    end: () => clickhouse.start(),
  }),
  ({ postgres }) => hanging('PostgreSQL', postgres),
  ({ kafka }, index) => ({
    name: `broker ${index % 3} hangs`,
    lastsMsMin: LEADERS_MOVE_MS,
    begin: () => kafka.nodes[index % 3]?.pause(),
    end: async () => {
      kafka.nodes[index % 3]?.resume();
      await kafka.inSync();
    },
  }),
  ({ processors }, index) => killed(`processor ${index % 2}`, at(processors, index)),
  ({ ingress }, index) => hanging(`ingress ${index % 2}`, at(ingress, index)),
  ({ clickhouse }) => hanging('ClickHouse', clickhouse),
  ({ postgres }) => ({
    name: 'PostgreSQL killed',
    begin: () => postgres.signal('SIGKILL'),
    end: () => postgres.restart(),
  }),
];

const at = (nodes: readonly Millrace[], index: number): Millrace => nodes[index % nodes.length] as Millrace;

function hanging(name: string, part: { signal(signal: 'SIGSTOP' | 'SIGCONT'): void }): Fault {
  return { name: `${name} hangs`, begin: () => part.signal('SIGSTOP'), end: () => part.signal('SIGCONT') };
}

function killed(name: string, node: Millrace): Fault {
  return {
    name: `${name} killed`,
    async begin() {
      await node.end('SIGKILL');
    },
    async end() {
      await node.start();
    },
  };
}
