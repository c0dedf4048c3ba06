import { startChild } from '../../child.ts';
import { treeMemory } from '../../memory.ts';
import { ANY_SUBSCRIBER, anyPublishers, type Broker, type BrokerOptions } from './broker.ts';

const READY_MS_MAX = 30_000;

/** Starts the bare library as it comes, with `noDelay`: see aedes-main.ts. */
export async function startAedes({ publishers, core, certificate }: BrokerOptions): Promise<Broker> {
  const child = await startChild<{ port: number; tlsPort: number | null }>(
    import.meta.url,
    './aedes-main',
    { certificate },
    READY_MS_MAX,
    core,
  );
  const { port, tlsPort } = child.message;
  return {
    endpoint: { host: '127.0.0.1', port, tls: false },
    tls: tlsPort === null ? null : { host: '127.0.0.1', port: tlsPort, tls: true },
    publishers: anyPublishers(publishers),
    subscriber: ANY_SUBSCRIBER,
    memory: () => treeMemory(child.pid, 'none'),
    stderr: child.stderr,
    stop: child.stop,
  };
}
