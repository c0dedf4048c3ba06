import type { Assembly, Component, Gate, Logger, Metrics } from '@millrace/core';
import { createCredentials, createGate, createSealer, gateLimits, generateSigningKey } from '@millrace/policy';
import { openRegistry, type Registry } from '@millrace/registry';
import type { Config } from './config.ts';

export interface AuthorityParts {
  /** Of PostgreSQL. */
  readonly url: string;
  readonly connectionsMax: number;
  readonly secret: Uint8Array;
  /** Where the registry may keep files. */
  readonly directory: string;
  /** Of the first administrator, by who makes it. */
  readonly password?: string;
  readonly ingressOnly: boolean;
  /** Waits for the database. */
  readonly patient?: <T>(component: Component<T>) => Component<T>;
  readonly tools: { readonly logger: Logger; readonly metrics: Metrics };
}

/** Who there is, and who may: the registry and the gate before it. */
export async function startAuthority(
  config: Config,
  assembly: Assembly,
  parts: AuthorityParts,
): Promise<{ readonly registry: Registry; readonly gate: Gate }> {
  const { url, connectionsMax, secret, directory, password, ingressOnly, patient, tools } = parts;
  const opening = openRegistry({
    url,
    connectionsMax,
    credentials: {
      create: (signingKeys) =>
        createCredentials({ secret, signingKeys, hashesMax: config.policy.MILLRACE_POLICY_HASHES_MAX }),
      generateSigningKey,
    },
    admin: { email: config.registry.MILLRACE_ADMIN_EMAIL, password },
    sessionsPerOwnerMax: config.registry.MILLRACE_MQTT_SESSIONS_PER_OWNER_MAX,
    retainedPerOrgMax: config.registry.MILLRACE_RETAINED_MESSAGES_MAX,
    sessionsKeptMs: config.mqtt.MILLRACE_MQTT_SESSION_EXPIRY_S * 1_000,
    config: config.registry,
    directory,
    ingressOnly,
    ...tools,
  });
  const registry = await assembly.start(patient === undefined ? opening : patient(opening));
  const gate = await assembly.start({
    name: 'policy',
    async start() {
      const value = createGate({
        directory: registry.directory,
        credentials: registry.credentials,
        sealer: createSealer(secret),
        limits: gateLimits(config.policy),
        ...tools,
      });
      return { value, drain: async () => {}, stop: async () => value.stop() };
    },
  });
  return { registry, gate };
}
