import type { Assembly, Delivery, Gate, Log, Logger, Metrics, ReadingsStore } from '@millrace/core';
import { coapServer, type NativeHandler } from '@millrace/ingest';
import { PROCESSORS_GROUP } from '@millrace/processors';
import type { Registry } from '@millrace/registry';
import type { Config } from './config.ts';
import type { DataDirectory } from './data-directory.ts';
import { inheritedSockets } from './inherited-sockets.ts';

export interface DeviceAddresses {
  /** null: the listener is off. */
  readonly coap: string | null;
}
export interface Devices {
  readonly addresses: DeviceAddresses;
  /** What they answer by HTTP. */
  readonly natives: readonly NativeHandler[];
}
export const NO_DEVICES: Devices = { addresses: { coap: null }, natives: [] };

export interface DeviceParts {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly log: Log;
  readonly store: ReadingsStore;
  readonly delivery: Delivery;
  readonly directory: DataDirectory;
  readonly tools: { readonly logger: Logger; readonly metrics: Metrics };
}

/** What constrained devices speak: CoAP, and what is built on it. The socket is opened last, so that no device meets a
 *  listener that does not know all of its resources yet. */
export async function startDevices(config: Config, assembly: Assembly, parts: DeviceParts): Promise<Devices> {
  const { registry, gate, log, store, delivery, tools } = parts;
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
  return { addresses: { coap: await coap.listen() }, natives: [] };
}
