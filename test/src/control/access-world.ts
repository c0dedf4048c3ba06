import { type MessageAction, Protocol, type RequestContext } from '@millrace/core';
import pg from 'pg';
import type { Asker, ControlPlane, Node } from './plane.ts';

/** The request of a device over MQTT, from a documentation address, at noon of a Monday. */
export const CONTEXT: RequestContext = {
  protocol: Protocol.mqtt,
  remoteAddress: '192.0.2.7',
  tls: true,
  mutualTls: false,
  nowMs: Date.UTC(2026, 0, 5, 12),
};

/** How the gate decides for who shows a credential: `allow`, or why not. */
export async function decided(
  node: Node,
  secret: string,
  action: MessageAction,
  channel: string,
  subtopic = '',
  context: Partial<RequestContext> = {},
): Promise<string> {
  const kind = secret.startsWith('mrk_') || secret.includes('.') ? 'bearer' : 'key';
  const identified = await node.gate.identify(
    kind === 'bearer' ? { kind, token: secret } : { kind: 'key', key: secret },
  );
  if (identified.kind === 'refused') return identified.reason;
  const admission = await node.gate.may(identified.principal, action, channel, subtopic, { ...CONTEXT, ...context });
  return admission.kind === 'allow' ? 'allow' : admission.reason;
}

export const orgOf = async (asker: Asker): Promise<string> =>
  (await asker.call('GET', '/users/me')).body.orgs[0].id as string;
export const idOf = async (asker: Asker): Promise<string> => (await asker.call('GET', '/users/me')).body.id as string;

/** What an asker makes, or an error that says what was answered. */
export async function made(asker: Asker, path: string, body: unknown = {}) {
  const answered = await asker.call('POST', path, body);
  if (answered.status !== 201) throw new Error(`POST ${path}: ${answered.status} ${JSON.stringify(answered.body)}`);
  return answered.body;
}

/** Waits for something to come to pass on another node; fails with what was seen last. */
export async function comesToBe(look: () => Promise<unknown>, wanted: unknown): Promise<void> {
  const endMs = Date.now() + 20_000;
  for (;;) {
    const seen = await look();
    if (seen === wanted) return;
    if (Date.now() > endMs) throw new Error(`still ${String(seen)}, not ${String(wanted)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Rows, past the product: to look at what it keeps, and to make what other parts of it make.
 *  @holds what is made so is not told to any node */
export async function rows(plane: ControlPlane, sql: string, values: readonly unknown[] = []) {
  const client = new pg.Client({ connectionString: plane.url });
  await client.connect();
  try {
    return (await client.query(sql, [...values])).rows;
  } finally {
    await client.end();
  }
}

/** Makes somebody a member of an organisation, before they first ask for anything in it. */
export const addMember = (plane: ControlPlane, org: string, user: string, role: string) =>
  rows(plane, 'INSERT INTO registry.memberships (user_id, org, role) VALUES ($1, $2, $3)', [user, org, role]);

/** The same with a role of the organisation's own that holds these actions.  @returns the role's id */
export async function addMemberWith(plane: ControlPlane, org: string, user: string, actions: readonly string[]) {
  const [role] = await rows(
    plane,
    'INSERT INTO registry.roles (id, org, name, actions) VALUES (gen_random_uuid(), $1, gen_random_uuid()::text, $2) RETURNING id',
    [org, actions],
  );
  await rows(plane, 'INSERT INTO registry.memberships (user_id, org, custom_role) VALUES ($1, $2, $3)', [
    user,
    org,
    role.id,
  ]);
  return role.id as string;
}
