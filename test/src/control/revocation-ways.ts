import { randomUUID } from 'node:crypto';
import type { Millrace, Rest } from '../millrace.ts';
import { byBearer, byKey, type Shown } from './revocation-sessions.ts';
import { logIn } from './two-nodes.ts';

/** Where somebody loses a right: told at node A. */
export interface Scene {
  readonly a: Millrace;
  readonly admin: Rest;
  readonly org: string;
  readonly channel: string;
}
export interface Prepared {
  readonly shown: Shown;
  revoke(): Promise<unknown>;
}
export interface Way {
  readonly name: string;
  /** Ends the feed as well, so it has an organisation of its own. */
  readonly alone?: boolean;
  readonly tls?: boolean;
  prepare(scene: Scene): Promise<Prepared>;
}
interface Thing {
  readonly id: string;
  readonly key: string;
}

export async function newThing({ admin, org }: Scene): Promise<Thing> {
  return admin.json<Thing>('POST', `/things?org=${org}`, { name: 'client' });
}
export async function newConnected(scene: Scene): Promise<Thing> {
  const thing = await newThing(scene);
  await connect(scene, thing.id);
  return thing;
}
const connect = ({ admin, channel }: Scene, thing: string): Promise<unknown> =>
  admin.json('POST', '/connect', { channel_ids: [channel], thing_ids: [thing] });

const ofThing = (name: string, revoke: (scene: Scene, thing: Thing) => Promise<unknown>, alone = false): Way => ({
  name,
  alone,
  async prepare(scene) {
    const thing = await newConnected(scene);
    return { shown: byKey(thing), revoke: () => revoke(scene, thing) };
  },
});

const statement = (effect: 'allow' | 'deny', channel: string) => ({
  effect,
  actions: ['publish', 'subscribe'],
  resources: [`channels/${channel}/messages*`],
});
const newPolicy = ({ admin, org, channel }: Scene): Promise<{ id: string }> =>
  admin.json('POST', `/policies?org=${org}`, { name: randomUUID(), statements: [statement('allow', channel)] });

const byPolicy = (name: string, revoke: (scene: Scene, policy: string, thing: Thing) => Promise<unknown>): Way => ({
  name,
  async prepare(scene) {
    const thing = await newThing(scene);
    const policy = await newPolicy(scene);
    await scene.admin.json('PUT', `/policies/${policy.id}/attachments/thing/${thing.id}`);
    return { shown: byKey(thing), revoke: () => revoke(scene, policy.id, thing) };
  },
});

interface Person {
  readonly id: string;
  readonly rest: Rest;
  readonly token: string;
}
interface RoleGiven {
  readonly role?: string;
  readonly role_id?: string;
}
async function newMember({ a, admin, org }: Scene, role: RoleGiven): Promise<Person> {
  const who = { email: `${randomUUID()}@example.org`, password: 'a good password' };
  await admin.as('').json('POST', '/users', who);
  const rest = await logIn(a, who);
  const { id } = await rest.json<{ id: string }>('GET', '/users/me');
  await admin.json('PUT', `/orgs/${org}/members/${id}`, role);
  return { id, rest, token: rest.authorization.slice('Bearer '.length) };
}
const byToken = ({ token }: Person): Shown => ({ ...byBearer(token), tickets: true });
const newRole = ({ admin, org }: Scene, actions: readonly string[]): Promise<{ id: string }> =>
  admin.json('POST', `/roles?org=${org}`, { name: randomUUID(), actions });

const ofMember = (name: string, revoke: (scene: Scene, person: Person) => Promise<unknown>): Way => ({
  name,
  async prepare(scene) {
    const person = await newMember(scene, { role: 'editor' });
    return { shown: byToken(person), revoke: () => revoke(scene, person) };
  },
});

interface App {
  readonly id: string;
  readonly client_secret: string;
}
const ofMachine = (name: string, revoke: (scene: Scene, app: App, token: string) => Promise<unknown>): Way => ({
  name,
  async prepare(scene) {
    const app = await scene.admin.json<App>('POST', `/apps?org=${scene.org}`, { name: 'machine', kind: 'machine' });
    await connect(scene, app.id);
    const { access_token: token } = await form<{ access_token: string }>(scene, '/oauth/token', app, {
      grant_type: 'client_credentials',
    });
    return { shown: byBearer(token), revoke: () => revoke(scene, app, token) };
  },
});

async function form<T>(scene: Scene, path: string, app: App, fields: Readonly<Record<string, string>>): Promise<T> {
  const body = new URLSearchParams({ client_id: app.id, client_secret: app.client_secret, ...fields }).toString();
  const response = await scene.admin.as('').raw('POST', path, body, {
    'content-type': 'application/x-www-form-urlencoded',
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** All that can be taken from somebody. */
export const WAYS: readonly Way[] = [
  ofThing('a thing’s key is changed', ({ admin }, { id }) => admin.json('PATCH', `/things/${id}/key`, {})),
  ofThing('a thing is disabled', ({ admin }, { id }) => admin.json('POST', `/things/${id}/disable`)),
  ofThing('a thing is deleted', ({ admin }, { id }) => admin.json('DELETE', `/things/${id}?cascade=true`)),
  ofThing('a connection is removed', ({ admin, channel }, { id }) =>
    admin.json('POST', '/disconnect', { channel_ids: [channel], thing_ids: [id] }),
  ),
  ofThing('an organisation is frozen', ({ admin, org }) => admin.json('POST', `/orgs/${org}/freeze`), true),
  {
    name: 'the key behind a device token is changed',
    async prepare(scene) {
      const thing = await newConnected(scene);
      const { token } = await scene.admin.as(`Thing ${thing.key}`).json<{ token: string }>('POST', '/things/token', {});
      return {
        shown: { ...byBearer(token), tickets: true },
        revoke: () => scene.admin.json('PATCH', `/things/${thing.id}/key`, {}),
      };
    },
  },
  {
    name: 'a certificate is revoked',
    tls: true,
    async prepare(scene) {
      const thing = await newConnected(scene);
      const { admin } = scene;
      const made = await admin.json<{ serial: string; certificate: string; private_key: string }>('POST', '/certs', {
        thing_id: thing.id,
      });
      const mqtt = { cert: made.certificate, key: made.private_key, rejectUnauthorized: false };
      return {
        shown: { mqtt, authorization: null },
        revoke: () => admin.json('POST', `/certs/${made.serial}/revoke`, {}),
      };
    },
  },
  byPolicy('a policy is detached', ({ admin }, policy, { id }) =>
    admin.json('DELETE', `/policies/${policy}/attachments/thing/${id}`),
  ),
  byPolicy('a policy is edited to deny', ({ admin, channel }, policy) =>
    admin.json('PATCH', `/policies/${policy}`, { statements: [statement('deny', channel)] }),
  ),
  {
    name: 'a policy of a role is disabled',
    async prepare(scene) {
      const role = await newRole(scene, ['things.list']);
      const policy = await newPolicy(scene);
      await scene.admin.json('PUT', `/policies/${policy.id}/attachments/role/${role.id}`);
      const person = await newMember(scene, { role_id: role.id });
      return {
        shown: byToken(person),
        revoke: () => scene.admin.json('POST', `/policies/${policy.id}/disable`),
      };
    },
  },
  {
    name: 'a custom role is narrowed',
    async prepare(scene) {
      const role = await newRole(scene, ['publish', 'subscribe']);
      const person = await newMember(scene, { role_id: role.id });
      const narrow = { actions: ['things.list'] };
      return { shown: byToken(person), revoke: () => scene.admin.json('PATCH', `/roles/${role.id}`, narrow) };
    },
  },
  {
    name: 'a role in a group is taken',
    async prepare(scene) {
      const { admin, org, channel } = scene;
      const group = await admin.json<{ id: string }>('POST', `/groups?org=${org}`, { name: randomUUID() });
      await admin.json('PUT', `/groups/${group.id}/channels/${channel}`);
      const role = await newRole(scene, ['things.list']);
      const person = await newMember(scene, { role_id: role.id });
      const path = `/groups/${group.id}/roles/${person.id}`;
      await admin.json('PUT', path, { role: 'editor' });
      return { shown: byToken(person), revoke: () => admin.json('DELETE', path) };
    },
  },
  ofMember('a member is removed', ({ admin, org }, { id }) => admin.json('DELETE', `/orgs/${org}/members/${id}`)),
  ofMember('a user is disabled', ({ admin }, { id }) => admin.json('POST', `/users/${id}/disable`)),
  ofMember('a user logs out everywhere', (_scene, { rest }) => rest.json('POST', '/users/me/logout')),
  {
    name: 'an API key is revoked',
    async prepare(scene) {
      const { rest } = await newMember(scene, { role: 'editor' });
      const { id, secret } = await rest.json<{ id: string; secret: string }>('POST', `/keys?org=${scene.org}`, {
        name: 'key',
        grants: [{ actions: ['publish', 'subscribe'], resources: ['channels/*'] }],
      });
      return { shown: byBearer(secret), revoke: () => rest.json('DELETE', `/keys/${id}`) };
    },
  },
  ofMachine('an application’s token is revoked', (scene, app, token) => form(scene, '/oauth/revoke', app, { token })),
  ofMachine('an application is disabled', ({ admin }, { id }) => admin.json('POST', `/apps/${id}/disable`)),
];
