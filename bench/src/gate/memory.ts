import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Principal, Protocol } from '@millrace/core';
import type { FigureCollector } from '../figures.ts';
import type { GateBenchOptions } from './options.ts';
import { channelOf, nameOf } from './stand-in.ts';
import { openStandIn, principalOf } from './warm.ts';

/** What the gate keeps of a principal with one answer, beyond its channel: the difference of the heap over many. */
export async function measureMemory(
  options: GateBenchOptions,
  figures: FigureCollector,
  progress: (line: string) => void,
): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (const [kind, name] of [
    ['plain', 'thing'],
    ['conditioned', 'thing-with-20-policies'],
  ] as const) {
    const { gate } = openStandIn(options.cachedPrincipals * 4);
    const held: Principal[] = [];
    const context = {
      protocol: Protocol.mqtt,
      remoteAddress: '192.0.2.7',
      tls: true,
      mutualTls: false,
      nowMs: Date.now(),
    };
    // Channels are shared by a thousand things each, and known before.
    const add = async (index: number): Promise<void> => {
      const principal = await principalOf(gate, { kind: 'subject', id: nameOf(kind, index) });
      await gate.may(principal, 'publish', channelOf(index % 100), '', context);
      held.push(principal);
    };
    for (let index = 0; index < 200; index++) await add(index);
    const before = await settled(collect);
    for (let index = 200; index < options.cachedPrincipals + 200; index++) {
      if (index % 1_000 === 0) options.signal?.throwIfAborted();
      await add(index);
    }
    const after = await settled(collect);
    figures.add(`memory/${name}/bytes_per_principal`, 'B', (after - before) / options.cachedPrincipals);
    progress(`memory, ${name}: ${Math.round((after - before) / options.cachedPrincipals)} B each, of ${held.length}`);
    gate.stop();
  }
}

/** Finalizers run in between, and leave more to collect. */
async function settled(collect: () => void): Promise<number> {
  for (let times = 0; times < 3; times++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}
