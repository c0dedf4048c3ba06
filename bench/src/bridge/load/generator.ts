import { childOptions, tell } from '../../floors/options.ts';
import { connects } from './connecting.ts';
import { deliver } from './delivering.ts';
import { hold } from './holding.ts';
import type { BridgePlan } from './plan.ts';
import { publish } from './publishing.ts';
import { comeBack, park } from './returning.ts';

const plan = childOptions<BridgePlan>();
if (plan.kind === 'hold') {
  // Lives until the parent ends it.
  tell(await hold(plan));
} else {
  tell(await run(plan));
  process.disconnect?.();
  // What is left are connections that say good-bye.
  setTimeout(() => process.exit(0), 1_000).unref();
}

function run(given: Exclude<BridgePlan, { kind: 'hold' }>): Promise<unknown> {
  switch (given.kind) {
    case 'publish':
      return publish(given);
    case 'deliver':
      return deliver(given);
    case 'connect':
      return connects(given);
    case 'park':
      return park(given);
    case 'return':
      return comeBack(given);
  }
}
