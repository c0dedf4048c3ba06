import type { Relay } from '../relay.ts';
import type { Fault } from './fault.ts';
import type { ClusterWorld } from './world.ts';

const LATENCY_MS = 200;
/** Of all connections, in each second. */
const RESET_SHARE = 0.05;
const RESET_EVERY_MS = 1_000;

/** What a network does, on all ways between nodes and brokers, ClickHouse and PostgreSQL or on some of them. */
export const NETWORK_FAULTS: readonly ((world: ClusterWorld, random: () => number) => Fault)[] = [
  ({ relays }) => slow('all answers come 200 ms later', relays.all),
  ({ relays }, random) => resets('5 % of all connections are reset each second', relays.all, random),
  ({ relays }, random) => {
    const index = Math.floor(random() * relays.brokers.length);
    return vanishing(`broker ${index} can not be reached`, relays.brokers.slice(index, index + 1));
  },
  ({ relays }) => vanishing('no broker can be reached', relays.brokers),
  ({ relays }) => vanishing('ClickHouse can not be reached', [relays.clickhouse]),
  ({ relays }) => vanishing('PostgreSQL can not be reached', [relays.postgres]),
  ({ relays }) => refusing('every connection is refused', relays.all),
];

function slow(name: string, relays: readonly Relay[]): Fault {
  return between(
    name,
    relays,
    (relay) => relay.delay(LATENCY_MS),
    (relay) => relay.delay(0),
  );
}

/** Nothing comes through, and nobody is told. What was sent meanwhile arrives at its end, late. */
function vanishing(name: string, relays: readonly Relay[]): Fault {
  return between(
    name,
    relays,
    (relay) => relay.hold(),
    (relay) => relay.release(),
  );
}

function refusing(name: string, relays: readonly Relay[]): Fault {
  return between(
    name,
    relays,
    (relay) => relay.shut(),
    (relay) => relay.open(),
  );
}

function resets(name: string, relays: readonly Relay[], random: () => number): Fault {
  let timer: NodeJS.Timeout | undefined;
  return {
    name,
    begin() {
      timer = setInterval(() => {
        for (const relay of relays) relay.cut(RESET_SHARE, random);
      }, RESET_EVERY_MS);
    },
    end: () => clearInterval(timer),
  };
}

function between(name: string, relays: readonly Relay[], begin: (relay: Relay) => void, end: typeof begin): Fault {
  const each = (act: (relay: Relay) => void) => () => {
    for (const relay of relays) act(relay);
  };
  return { name, begin: each(begin), end: each(end) };
}
