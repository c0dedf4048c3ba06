import { createHash } from 'node:crypto';
import type { Assembly, CodecRunner, Delivery, Gate, Log, Logger, Metrics, ReadingsStore } from '@millrace/core';
import {
  coapServer,
  coapsServer,
  loraOff,
  loraServer,
  lwm2mServer,
  type NativeHandler,
  terminatorSocket,
} from '@millrace/ingest';
import { PROCESSORS_GROUP } from '@millrace/processors';
import type { Registry } from '@millrace/registry';
import type { Config } from './config.ts';
import type { DataDirectory } from './data-directory.ts';
import { inheritedSockets } from './inherited-sockets.ts';
import { isLoopback } from './loopback.ts';

export interface DeviceAddresses {
  /** null: the listener is off. */
  readonly coap: string | null;
  readonly coaps: string | null;
}
export interface Devices {
  readonly addresses: DeviceAddresses;
  /** What they answer by HTTP. */
  readonly natives: readonly NativeHandler[];
}
export const NO_DEVICES: Devices = { addresses: { coap: null, coaps: null }, natives: [] };

export interface DeviceParts {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly log: Log;
  /** No other node reads this log. */
  readonly alone: boolean;
  readonly store: ReadingsStore;
  readonly delivery: Delivery;
  readonly directory: DataDirectory;
  readonly codecs: CodecRunner;
  readonly tools: { readonly logger: Logger; readonly metrics: Metrics };
}

/** What constrained devices speak: CoAP, and what is built on it. The socket is opened last, so that no device meets a
 *  listener that does not know all of its resources yet. */
export async function startDevices(config: Config, assembly: Assembly, parts: DeviceParts): Promise<Devices> {
  const { registry, gate, log, store, delivery, directory, tools } = parts;
  const coap = await assembly.start(
    coapServer({
      host: config.node.MILLRACE_HOST,
      config: config.coap,
      inherited: inheritedSockets('coap'),
      log,
      gate,
      delivery,
      store,
      processorsGroup: PROCESSORS_GROUP,
      audit: registry.audit,
      presence: registry.presence,
      ...tools,
    }),
  );
  if (config.lwm2m.MILLRACE_LWM2M) {
    await assembly.start(
      lwm2mServer({
        config: config.lwm2m,
        coap,
        directory: registry.lwm2m,
        commands: registry.commands,
        keys: registry.deviceKeys,
        log,
        gate,
        rate: { perSecond: config.coap.MILLRACE_COAP_RATE_PER_SECOND, burst: config.coap.MILLRACE_COAP_RATE_BURST },
        audit: registry.audit,
        presence: registry.presence,
        ...tools,
      }),
    );
  }
  const { coaps } = await assembly.start(
    coapsServer({
      host: config.node.MILLRACE_HOST,
      config: config.coaps,
      balancers: config.coap.MILLRACE_COAP_BALANCERS,
      endpoint: coap.endpoint,
      gate,
      keys: registry.deviceKeys,
      ...tools,
    }),
  );
  await assembly.start(
    terminatorSocket({
      path: terminatorPath(config.coaps.MILLRACE_COAP_TERMINATOR, directory),
      coap,
      gate,
      keys: registry.deviceKeys,
      ...tools,
    }),
  );
  const lora = await startLora(config, assembly, parts);
  return { addresses: { coap: await coap.listen(), coaps }, natives: lora };
}

/** LoRaWAN: this node's connections with network servers, and what it answers by HTTP. */
async function startLora(config: Config, assembly: Assembly, parts: DeviceParts): Promise<NativeHandler[]> {
  const { registry, gate, log, alone, codecs, directory, tools } = parts;
  if (config.lora.MILLRACE_LORA === 'off') {
    if (alone) await assembly.start(loraOff({ log, ...tools }));
    return [];
  }
  const { native } = await assembly.start(
    loraServer({
      config: config.lora,
      loopback: isLoopback(config.node.MILLRACE_HOST),
      instance: createHash('sha256').update(directory.path).digest('hex').slice(0, 8),
      log,
      gate,
      codecs,
      directory: registry.lora,
      commands: registry.commands,
      audit: registry.audit,
      presence: registry.presence,
      ...tools,
    }),
  );
  return [native];
}

function terminatorPath(setting: string, directory: DataDirectory): string | null {
  if (setting === 'off') return null;
  return setting === 'on' ? directory.file('run', 'dtls.sock') : setting;
}
