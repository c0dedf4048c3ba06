import { BenchError } from '../../errors.ts';
import { type ControlPlane, startNode } from '../../product.ts';
import { eachAtOnce } from '../load/client.ts';
import type { Endpoint, Identity, Publisher } from '../load/plan.ts';
import { type Broker, type BrokerOptions, topicOf } from './broker.ts';

const AT_ONCE = 8;

/** Starts the built product. `roles`: those of the node; left out: all of them, on the same core. */
export async function startMillrace({ publishers, core, certificate }: BrokerOptions, roles?: string): Promise<Broker> {
  const node = await startNode({
    ...(roles === undefined ? {} : { roles }),
    core,
    environment: {
      MILLRACE_MQTT_PORT: '0',
      // One thing reads everything here.
      MILLRACE_MQTT_SESSIONS_PER_OWNER_MAX: '100000',
      ...(certificate === null
        ? {}
        : {
            MILLRACE_MQTTS_PORT: '0',
            MILLRACE_MQTT_TLS_CERT: certificate.certificate,
            MILLRACE_MQTT_TLS_KEY: certificate.key,
          }),
    },
  });
  try {
    const endpoint = endpointOf(node.addresses.mqtt, false);
    if (endpoint === null) {
      throw new BenchError('SETUP_FAILED', 'never', { problem: 'the product has no MQTT listener in ready.json' });
    }
    return {
      endpoint,
      tls: certificate === null ? null : endpointOf(node.addresses.mqtts, true),
      ...(await provision(await node.plane(), publishers)),
      memory: node.memory,
      stderr: node.stderr,
      stop: node.stop,
    };
  } catch (error) {
    await node.stop();
    throw error;
  }
}

function endpointOf(address: unknown, tls: boolean): Endpoint | null {
  if (typeof address !== 'string') return null;
  const { hostname, port } = new URL(address);
  return { host: hostname, port: Number(port), tls };
}

interface Made {
  readonly id: string;
  readonly key?: string;
}

/** A thing for each channel, which publishes there, and one that reads them all. */
async function provision(
  call: ControlPlane,
  count: number,
): Promise<{ publishers: Publisher[]; subscriber: Identity }> {
  const { things } = await call<{ things: Made[] }>('POST', '/things/bulk', named('bench', count + 1));
  const { channels } = await call<{ channels: Made[] }>('POST', '/channels/bulk', named('bench', count));
  const reader = things[count] as Made;
  await call('POST', '/connect', {
    channel_ids: channels.map(({ id }) => id),
    thing_ids: [reader.id],
    types: ['subscribe'],
  });
  const publishers: Publisher[] = [];
  await eachAtOnce(channels, AT_ONCE, async (channel) => {
    const thing = things[channels.indexOf(channel)] as Made;
    await call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id], types: ['publish'] });
    publishers.push({ ...(await identityOf(call, thing)), topic: topicOf(channel.id) });
  });
  return { publishers, subscriber: await identityOf(call, reader) };
}

async function identityOf(call: ControlPlane, thing: Made): Promise<Identity> {
  const { key } =
    thing.key === undefined ? await call<{ key: string }>('GET', `/things/${thing.id}`) : { key: thing.key };
  return { username: thing.id, password: key };
}

const named = (name: string, count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `${name}-${index}` }));
