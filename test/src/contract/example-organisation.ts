import { X509Certificate } from 'node:crypto';
import { example } from '@millrace/registry';
import { Mailbox } from '../control/mailbox.ts';
import type { Answered, Asker } from '../control/plane.ts';
import { eventually } from '../control/waiting.ts';
import { newAuthority } from './authority.ts';

/** More than are made at once. */
const ITEMS_OF_JOB = 1_001;

export type Role = 'owner' | 'administrator' | 'member' | 'invited' | 'thing' | 'nobody';
/** What the examples of the documentation speak of, in a control plane. */
export interface ExampleOrganisation {
  readonly as: Readonly<Record<Role, Asker>>;
  /** Puts what the platform made in the place of what the documentation shows. */
  real<T>(value: T): T;
}

/** Makes the example organisation by the API alone, so that it can be made in any node.
 *  @param outbox folder in which the node keeps its `outbox` */
export async function makeExampleOrganisation(
  stranger: Asker,
  administrator: Asker,
  outbox: string,
): Promise<ExampleOrganisation> {
  const mailbox = new Mailbox(outbox);
  const { password } = example;
  const person = async (id: string, email: string): Promise<Asker> => {
    await done(administrator.call('POST', '/users', { id, email, password }));
    return stranger.asUser(email, password);
  };
  const owner = await person(example.user, example.email);
  const member = await person(example.member, example.memberEmail);
  const invited = await person('5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0004', example.invitedEmail);
  const made = async (path: string, body: unknown): Promise<Answered['body']> =>
    (await done(owner.call('POST', path, body))).body;

  const { body: me } = await done(owner.call('GET', '/users/me'));
  await made('/orgs', { id: example.org, name: 'Race', alias: 'race' });
  // Everybody begins with an organisation of their own; in examples there is but one.
  for (const { id } of me.orgs) await done(owner.call('DELETE', `/orgs/${id}`));
  await done(administrator.call('PUT', `/orgs/${example.org}/members/${example.member}`, { role: 'viewer' }));
  const verified = await tokenFor(mailbox, example.invitedEmail, 'verify');
  await done(invited.call('POST', '/users/verify', { token: verified }));
  const invitation = await made(`/orgs/${example.org}/invitations`, { email: example.invitedEmail, role: 'viewer' });

  await made('/roles', { id: example.role, name: 'maintenance', actions: ['things.read', 'things.update'] });
  await made('/groups', { id: example.group, name: 'Building 1' });
  await made('/groups', { id: example.otherGroup, name: 'First floor', parent_id: example.group });
  await made('/things', {
    id: example.thing,
    key: example.thingKey,
    name: 'Thermometer of the hall',
    tags: ['hall'],
    metadata: { floor: 2 },
  });
  await made('/things', { id: example.otherThing, name: 'Lamp of the hall', group_id: example.group });
  await made('/things', { id: example.lwm2mThing, name: 'Valve of the hall' });
  await done(owner.call('PUT', `/things/${example.lwm2mThing}/lwm2m`, { endpoint: 'valve-1' }));
  const command = await made(`/things/${example.lwm2mThing}/commands`, {
    kind: 'lwm2m.read',
    arguments: { path: '/3308/0/5900' },
  });
  await made('/channels', { id: example.channel, name: 'Entrance', alias: 'entrance' });
  await made('/channels', { id: example.otherChannel, name: 'Lights', group_id: example.group });
  await made('/connect', {
    channel_ids: [example.channel, example.otherChannel],
    thing_ids: [example.thing],
  });
  await made('/policies', {
    id: example.policy,
    name: 'Readings of the entrance',
    statements: [{ effect: 'allow', actions: ['publish'], resources: [`channels/${example.channel}/messages/*`] }],
  });
  await done(owner.call('PUT', `/policies/${example.policy}/attachments/thing/${example.thing}`));
  await made('/keys', {
    id: example.apiKey,
    name: 'screen',
    grants: [{ actions: ['things.read'], resources: ['things*'] }],
  });
  const application = await made('/apps', { id: example.application, name: 'Reports of the night', kind: 'machine' });
  await made('/apps', {
    id: example.webApplication,
    name: 'Screens',
    kind: 'web',
    redirect_uris: ['https://dashboards.example.org/callback'],
    scopes: ['openid', 'email'],
  });

  await made('/networkservers', {
    id: example.networkServer,
    name: 'Meadows',
    kind: 'chirpstack-v4',
    mqtt: { url: 'mqtt://chirpstack.example.org' },
  });
  await made('/networkservers', { id: example.otherNetworkServer, name: 'Barns', kind: 'tts-v3' });
  const script = 'function decodeUplink({ bytes }) { return { data: { level: bytes[0] } }; }';
  await made('/codecs', { id: example.codec, name: 'Level', kind: 'javascript', script });
  await made('/codecs', { id: example.otherCodec, name: 'Old level', kind: 'javascript', script });

  for (const [id, name] of [
    [example.webhook, 'Night watch'],
    [example.otherWebhook, 'Old night watch'],
  ])
    await made('/webhooks', { id, name, channel: example.channel, url: 'https://hooks.invalid/millrace' });

  const certificate = await made('/certs', { thing_id: example.thing });
  const known = await newAuthority('Old factory');
  const { id: authority } = await made('/certs/authorities', {
    name: 'Old factory',
    certificate: known.certificate,
    proof: await known.proof((await made('/certs/authorities/code', undefined)).code),
  });
  const coming = await newAuthority('Factory');
  const proof = await coming.proof((await made('/certs/authorities/code', undefined)).code);

  const items = Array.from({ length: ITEMS_OF_JOB }, (_, index) => ({ name: `Sensor ${index}` }));
  const { id: job } = await made('/channels/bulk', items);
  await eventually(async () => (await owner.call('GET', `/jobs/${job}`)).body.finished_at !== null);

  await done(stranger.call('POST', '/password/reset-request', { email: example.email }));
  const session = await done(stranger.call('POST', '/tokens', { email: example.email, password }));
  const stands = new Map<string, string>([
    [example.applicationSecret, application.client_secret],
    [example.invitation, invitation.id],
    [example.issuer, issuerOf(certificate.certificate)],
    [example.authority, authority],
    [example.authorityCertificate, coming.certificate],
    [example.authorityProof, proof],
    [example.serial, certificate.serial],
    [example.job, job],
    [example.command, command.id],
    [example.refreshToken, session.body.refresh_token],
    [example.resetToken, await tokenFor(mailbox, example.email, 'reset')],
    [example.verifyToken, await tokenFor(mailbox, example.email, 'verify')],
    [example.invitationToken, await tokenFor(mailbox, example.invitedEmail, 'invitation')],
  ]);
  return {
    as: { owner, administrator, member, invited, thing: stranger.as(`Thing ${example.thingKey}`), nobody: stranger },
    real: (value) => replaced(value, stands),
  };
}

/** The newest token of a kind that came to an address, by the link that it stands in. */
async function tokenFor(mailbox: Mailbox, to: string, path: string): Promise<string> {
  const newest = (): string =>
    mailbox.of(to).reduce((last, mail) => new RegExp(`/account/${path}#token=([\\w-]+)`).exec(mail)?.[1] ?? last, '');
  await eventually(() => newest() !== '');
  return newest();
}

async function done(answering: Promise<Answered>): Promise<Answered> {
  const answered = await answering;
  if (answered.status > 299) throw new Error(`${answered.status} ${JSON.stringify(answered.body)}`);
  return answered;
}

/** The authority that issued a certificate, as the certificate names it. */
function issuerOf(certificate: string): string {
  const [, id = ''] = /\/certs\/ca\/([0-9a-f-]{36})/.exec(new X509Certificate(certificate).infoAccess ?? '') ?? [];
  return id;
}

function replaced<T>(value: T, stands: ReadonlyMap<string, string>): T;
function replaced(value: unknown, stands: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return stands.get(value) ?? value;
  if (Array.isArray(value)) return value.map((each) => replaced(each, stands));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, replaced(each, stands)]));
}
