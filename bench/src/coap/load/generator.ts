import { observes } from './observe.ts';
import type { CoapPlan } from './plan.ts';
import { openSocket, publishes } from './publish.ts';
import { handshakes, openSecure } from './secure.ts';

/** The load generator, in a process of its own: one plan, one message with its figures. */
const plan = JSON.parse(process.argv[2] ?? '') as CoapPlan;
process.once('disconnect', () => process.exit());

async function run(): Promise<object> {
  switch (plan.kind) {
    case 'publish':
      return publishes(plan, (target) => (plan.secure ? openSecure(plan.port, target) : openSocket(plan.port)));
    case 'observe':
      return observes(plan);
    case 'handshakes':
      return handshakes(plan);
  }
}

process.send?.(await run());
