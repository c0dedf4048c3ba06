import type { ChannelRecord, Logger, LoraDevice, NetworkServer, ThingRecord } from '@millrace/core';
import { actingAs } from '../audit/actor.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import type { Connections } from '../inventory/connections.ts';
import { lockOrg } from '../inventory/org-lock.ts';
import type { NewThing, Things } from '../inventory/things.ts';
import { keepable } from './keepable.ts';
import type { Provisioning } from './network-servers.ts';
import { thingByDevEui, thingRecord } from './thing-records.ts';

export interface ProvisioningOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly things: Pick<Things, 'createIn'>;
  readonly connections: Pick<Connections, 'connectIn'>;
  readonly now: () => number;
  readonly logger: Logger;
}
export interface Provisioner {
  /** @returns null as `LoraDirectory.provision` says */
  provision(server: NetworkServer, device: LoraDevice, channel: ChannelRecord): Promise<ThingRecord | null>;
  /** How many things a server has made today. */
  madeToday(server: string): Promise<number>;
}
type Outcome =
  | { readonly kind: 'made' | 'there'; readonly thing: ThingRecord }
  | { readonly kind: 'refused'; readonly because: string };

const NAME_CHARACTERS_MAX = 1_024;
const DAYS_KEPT = 7;
const refused = (because: string): Outcome => ({ kind: 'refused', because });

/** Makes things of devices that nobody has registered, as their network server's settings say.
 *  @holds nodes that hear of one device at once take turns: one makes it, the others find it */
export function createProvisioner({
  session,
  feed,
  things,
  connections,
  now,
  logger,
}: ProvisioningOptions): Provisioner {
  async function provision(
    server: NetworkServer,
    device: LoraDevice,
    channel: ChannelRecord,
  ): Promise<ThingRecord | null> {
    const { devEui } = device;
    if (!/^[0-9a-f]{16}$/.test(devEui) || channel.org !== server.org) return null;
    // Nobody asked for it: it happens in the server's name.
    const outcome = await actingAs(
      {
        kind: 'system',
        id: server.id,
        name: `network server ${server.name}`,
        via: null,
        address: null,
        protocol: 'lora',
      },
      () => feed.transaction((tx) => provisionIn(tx, server.id, device, channel.id)).catch(goneMeanwhile),
    );
    if (outcome.kind !== 'refused') return outcome.thing;
    logger.warn({ server: server.id, devEui, because: outcome.because }, 'an unknown LoRaWAN device got no thing');
    return null;
  }

  async function provisionIn(tx: ChangeSession, id: string, device: LoraDevice, channel: string): Promise<Outcome> {
    const [server] = await tx.query<{ org: string; provisioning: Provisioning | null }>(
      `SELECT network_servers.org, provisioning FROM registry.network_servers JOIN registry.orgs ON orgs.id = org
       WHERE network_servers.id = $1 AND enabled AND NOT frozen FOR SHARE OF network_servers`,
      [id],
    );
    const provisioning = server?.provisioning ?? null;
    if (server === undefined || provisioning === null) return refused('the server makes no things (any more)');
    const { org } = server;
    await lockOrg(tx, 'lora', org);
    const [there] = await thingByDevEui(tx, org, device.devEui);
    if (there !== undefined) return { kind: 'there', thing: there };
    if (!(await countOne(tx, id, provisioning.things_per_day_max)))
      return refused(`it has made ${provisioning.things_per_day_max} things today, which is its limit`);
    const [made] = await things.createIn(tx, org, [await newThing(tx, org, device, provisioning)]);
    if (made === undefined) throw new TypeError('a thing was made, but not given');
    const types = provisioning.subscribe ? (['publish', 'subscribe'] as const) : (['publish'] as const);
    await connections.connectIn(tx, org, [made.thing.id], [channel], types);
    const thing = await thingRecord(tx, made.thing.id);
    if (thing === null) throw new TypeError('a thing was made, but is not there');
    return { kind: 'made', thing };
  }

  /** @returns false if the day's number is reached */
  async function countOne(tx: Session, server: string, max: number): Promise<boolean> {
    const nowMs = now();
    await tx.query('DELETE FROM registry.network_server_days WHERE server = $1 AND day < $2::date', [
      server,
      dayOf(nowMs - DAYS_KEPT * 86_400_000),
    ]);
    const rows = await tx.query(
      `INSERT INTO registry.network_server_days AS days (server, day, things) VALUES ($1, $2::date, 1)
       ON CONFLICT (server, day) DO UPDATE SET things = days.things + 1 WHERE days.things < $3 RETURNING things`,
      [server, dayOf(nowMs), max],
    );
    return rows.length > 0;
  }

  async function madeToday(server: string): Promise<number> {
    const [row] = await session.query<{ things: number }>(
      'SELECT things FROM registry.network_server_days WHERE server = $1 AND day = $2::date',
      [server, dayOf(now())],
    );
    return row?.things ?? 0;
  }

  return { provision, madeToday };
}

async function newThing(
  tx: Session,
  org: string,
  { devEui, name, applicationId, deviceProfile }: LoraDevice,
  { group_id: groupId }: Provisioning,
): Promise<NewThing> {
  // A thing may have it as its external id although its metadata say another DevEUI.
  const taken = await tx.query('SELECT 1 FROM registry.things WHERE org = $1 AND external_id = $2', [org, devEui]);
  const lora = { dev_eui: devEui, app_id: kept(applicationId), device_profile: kept(deviceProfile) };
  return {
    name: kept(name) === '' ? devEui : kept(name),
    externalId: taken.length === 0 ? devEui : null,
    metadata: { lora },
    groupId,
  };
}

/** A text that a device's network server chose, as PostgreSQL can keep it. */
const kept = (text: string): string => keepable(text, NAME_CHARACTERS_MAX);
const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** Its group or the channel has been deleted, or somebody took the external id: the next event finds out. */
function goneMeanwhile(error: unknown): Outcome {
  if (!(error instanceof RegistryError)) throw error;
  if (error.code === 'REGISTRY_NOT_FOUND') return refused('its group, or its channel, is not there any more');
  if (error.code === 'REGISTRY_CONFLICT') return refused('a thing with this external id has been made meanwhile');
  throw error;
}
