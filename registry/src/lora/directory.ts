import {
  type ChannelRecord,
  type CodecRecord,
  type DirectoryChange,
  isUuid,
  type Logger,
  type LoraApplication,
  type LoraDirectory,
  type LoraMember,
  type ThingRecord,
} from '@millrace/core';
import { channelRecord, THING_RECORD } from '../access/directory.ts';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import type { CodecStore } from './codecs.ts';
import type { NetworkServers } from './network-servers.ts';
import type { Provisioner } from './provisioning.ts';
import type { ServerStates } from './server-states.ts';
import { DEV_EUI, thingByDevEui } from './thing-records.ts';

/** Nobody is told here how long anything is kept. */
const CHANNEL = channelRecord(null);

export interface LoraDirectoryOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly servers: NetworkServers;
  readonly codecs: CodecStore;
  readonly provisioner: Provisioner;
  readonly states: ServerStates;
  readonly logger: Logger;
}

/** DevEUIs that two things have and that were told of; beyond it all are forgotten. */
const TOLD_MAX = 10_000;
const APPLICATIONS_MAX = 100;
const APP_ID = `metadata #>> '{lora,app_id}'`;
const APPLICATION = `channels.org, channels.id AS channel, channels.${APP_ID} AS "applicationId",
  channels.metadata #>> '{lora,server}' AS server`;
const IS_APPLICATION = `channels.${APP_ID} <> ''`;

/** Who is who in LoRaWAN, each by an index: what a look-up costs does not grow with the organisation. */
export function createLoraDirectory(options: LoraDirectoryOptions): LoraDirectory {
  const { session, feed, servers, codecs, provisioner, states, logger } = options;
  const told = new Set<string>();
  const tellTwice = (org: string, devEui: string, things: readonly ThingRecord[]): void => {
    const key = `${org} ${devEui}`;
    if (told.has(key)) return;
    if (told.size >= TOLD_MAX) told.clear();
    told.add(key);
    logger.warn(
      { org, devEui, things: things.map(({ id }) => id) },
      'two things have one DevEUI: the older one counts',
    );
  };

  return {
    servers: () => servers.all(),
    provision: (...what) => provisioner.provision(...what),
    report: (server, report) => states.report(server, report),

    async device(org, devEui) {
      if (!isUuid(org) || !/^[0-9a-f]{16}$/.test(devEui)) return null;
      const found = await thingByDevEui(session, org, devEui);
      if (found.length > 1) tellTwice(org, devEui, found);
      return found[0] ?? null;
    },

    async application(org, applicationId, server) {
      if (!isUuid(org) || applicationId === '' || applicationId.includes('\0')) return null;
      const named = `channels.metadata #>> '{lora,server}'`;
      const [channel] = await session.query<ChannelRecord>(
        `${CHANNEL} channels.org = $1 AND lower(channels.${APP_ID}) = lower($2)
           AND ($3::text IS NULL OR coalesce(${named}, '') = ANY (ARRAY['', $3, $4]))
         ORDER BY $3::text IS NOT NULL AND coalesce(${named}, '') <> '' DESC, channels.created_at, channels.id LIMIT 1`,
        [org, applicationId, server?.id ?? null, server?.name ?? null],
        'lora-application',
      );
      return channel ?? null;
    },

    async applicationOf(channel) {
      if (!isUuid(channel)) return null;
      const sql = `SELECT ${APPLICATION} FROM registry.channels WHERE id = $1 AND ${IS_APPLICATION}`;
      return (await session.query<LoraApplication>(sql, [channel]))[0] ?? null;
    },

    async devicesOf(channel, limit) {
      if (!isUuid(channel)) return [];
      const rows = await session.query<ThingRecord & Omit<LoraMember, 'thing'>>(
        `SELECT ${THING_RECORD}, ${DEV_EUI} AS "devEui", subscribe
         FROM registry.connections JOIN registry.things ON things.id = thing JOIN registry.orgs ON orgs.id = things.org
         WHERE channel = $1 AND ${DEV_EUI} IS NOT NULL ORDER BY things.created_at, things.id LIMIT $2`,
        [channel, limit],
      );
      return rows.map(({ devEui, subscribe, ...thing }) => ({ thing, devEui, subscribe }));
    },

    async reach(thing) {
      if (!isUuid(thing)) return null;
      const [row] = await session.query<
        ThingRecord & { devEui: string; deviceId: string | null; applications: LoraApplication[] }
      >(
        `SELECT ${THING_RECORD}, ${DEV_EUI} AS "devEui", things.metadata #>> '{lora,device_id}' AS "deviceId",
           (SELECT coalesce(json_agg(application), '[]') FROM (
             SELECT ${APPLICATION} FROM registry.connections JOIN registry.channels ON channels.id = channel
             WHERE thing = things.id AND ${IS_APPLICATION}
             ORDER BY lower(channels.${APP_ID}) IS NOT DISTINCT FROM lower(things.${APP_ID}) DESC,
               connections.created_at, channels.id LIMIT ${APPLICATIONS_MAX}) AS application) AS applications
         FROM registry.things JOIN registry.orgs ON orgs.id = things.org
         WHERE things.id = $1 AND ${DEV_EUI} IS NOT NULL`,
        [thing],
      );
      if (row === undefined) return null;
      const { devEui, deviceId, applications, ...record } = row;
      return { thing: record, devEui, deviceId, applications };
    },

    async codec(org, thing, deviceProfile, channel = null): Promise<CodecRecord | null> {
      if (!isUuid(org)) return null;
      const named = codecName(thing?.metadata);
      if (named !== null) return codecs.named(org, named);
      const profiles = deviceProfile.filter((each) => each !== '' && !each.includes('\0'));
      const found = profiles.length === 0 ? null : await codecs.ofProfile(org, profiles);
      if (found !== null || channel === null || !isUuid(channel)) return found;
      const [row] = await session.query<{ codec: string | null }>(
        `SELECT metadata #>> '{lora,codec}' AS codec FROM registry.channels WHERE id = $1 AND org = $2`,
        [channel, org],
      );
      return row === undefined || row.codec === null || row.codec === '' ? null : codecs.named(org, row.codec);
    },

    onChange: (listener) =>
      feed.onChange((change) => {
        for (const kind of kindsOf(change))
          listener(
            change.voids.includes('*')
              ? { kind, org: null, id: null }
              : { kind, org: change.org, id: change.entity === 'org' ? null : change.id },
          );
      }),
  };
}

/** What a change of the control plane means to LoRaWAN. A frozen organisation's servers and things are disabled. */
function kindsOf({ entity, voids }: DirectoryChange): readonly ('servers' | 'devices')[] {
  if (entity === 'org' || voids.includes('*')) return ['servers', 'devices'];
  if (entity === 'networkserver') return ['servers'];
  return DEVICES.has(entity) ? ['devices'] : [];
}
const DEVICES: ReadonlySet<DirectoryChange['entity']> = new Set(['thing', 'channel', 'connection', 'group', 'codec']);

function codecName(metadata: Readonly<Record<string, unknown>> | undefined): string | null {
  const lora = metadata?.lora;
  if (typeof lora !== 'object' || lora === null) return null;
  const { codec } = lora as { readonly codec?: unknown };
  return typeof codec === 'string' && codec !== '' ? codec : null;
}
