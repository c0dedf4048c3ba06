import { type CodecRecord, isUuid, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion, noteChange } from '../inventory/change.ts';
import { lockOrg } from '../inventory/org-lock.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';

export const codecKinds = ['javascript', 'cayenne-lpp'] as const;
export const SCRIPT_BYTES_MAX = 64 * 1024;

export interface CodecSummary extends Omit<CodecRecord, 'script'> {
  readonly deviceProfiles: readonly string[];
  readonly description: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface Codec extends CodecSummary {
  readonly script: string;
}
export interface NewCodec {
  readonly id?: string | undefined;
  readonly name: string;
  readonly kind: CodecRecord['kind'];
  readonly script?: string | undefined;
  readonly deviceProfiles?: readonly string[] | undefined;
  readonly description?: string | undefined;
}
/** What is undefined stays as it is. */
export interface CodecPatch {
  readonly name?: string | undefined;
  readonly script?: string | undefined;
  readonly deviceProfiles?: readonly string[] | undefined;
  readonly description?: string | undefined;
}
/** Things and channels whose metadata name a codec. */
export interface CodecUses {
  readonly things: number;
  readonly channels: number;
}

export interface CodecStore {
  /** @throws RegistryError REGISTRY_CONFLICT with field id or name, REGISTRY_FULL, REGISTRY_INVALID with field script */
  create(org: string, codec: NewCodec): Promise<Codec>;
  get(id: string): Promise<Codec | null>;
  /** By id or name. */
  named(org: string, reference: string): Promise<CodecRecord | null>;
  /** The oldest one that lists one of these device profiles. */
  ofProfile(org: string, profiles: readonly string[]): Promise<CodecRecord | null>;
  list(query: ListQuery): Promise<Listed<CodecSummary>>;
  /** null if it is gone.  @param cascade another name although things or channels name it: they are decoded no more
   *  @throws RegistryError REGISTRY_VERSION_MISMATCH, and as `create` */
  update(id: string, patch: CodecPatch, expected: number | null, cascade?: boolean): Promise<Codec | null>;
  /** What names it keeps doing so, and is decoded no more.  @returns null if it is gone
   *  @throws RegistryError REGISTRY_IN_USE unless `cascade`, REGISTRY_VERSION_MISMATCH */
  remove(id: string, cascade: boolean, expected: number | null): Promise<CodecUses | null>;
}

const SUMMARY = `id, org, name, kind, device_profiles AS "deviceProfiles", description, version,
  created_at AS "createdAt", updated_at AS "updatedAt"`;
const COLUMNS = `${SUMMARY}, script`;
const RECORD = 'id, org, name, version, kind, script';

export function createCodecs(session: Session, feed: ChangeFeed, perOrgMax: number): CodecStore {
  const locked = async (tx: ChangeSession, id: string, expected: number | null): Promise<Codec | null> => {
    const [codec] = await tx.query<Codec>(`SELECT ${COLUMNS} FROM registry.codecs WHERE id = $1 FOR UPDATE`, [id]);
    if (codec === undefined) return null;
    checkVersion('codec', codec, expected);
    return codec;
  };
  return {
    create: (org, { id, name, kind, script = '', deviceProfiles = [], description = '' }) =>
      feed.transaction(async (tx) => {
        checkScript(kind, script);
        // One after the other, so that many at once don't pass the limit together.
        await lockOrg(tx, 'lora', org);
        const [count] = await tx.query<{ all: number }>(
          'SELECT count(*)::integer AS all FROM registry.codecs WHERE org = $1',
          [org],
        );
        if ((count?.all ?? 0) >= perOrgMax) throw new RegistryError('REGISTRY_FULL', 'never', { codecs: perOrgMax });
        const [codec] = await tx.query<Codec>(
          `INSERT INTO registry.codecs (id, org, name, kind, script, device_profiles, description)
           VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${COLUMNS}`,
          [id?.toLowerCase() ?? uuidV7(), org, name, kind, script, deviceProfiles, description],
        );
        if (codec === undefined) throw new TypeError('INSERT … RETURNING gave no row');
        tx.changed('codec', codec.id, org, [codec.id]);
        noteChange(tx, 'codecs', 'create', null, codec);
        return codec;
      }),

    async get(id) {
      return (await session.query<Codec>(`SELECT ${COLUMNS} FROM registry.codecs WHERE id = $1`, [id]))[0] ?? null;
    },

    async named(org, reference) {
      const [codec] = await session.query<CodecRecord>(
        `SELECT ${RECORD} FROM registry.codecs WHERE org = $1 AND (id = $2 OR name = $3) ORDER BY id = $2 DESC LIMIT 1`,
        [org, isUuid(reference) ? reference : null, reference],
      );
      return codec ?? null;
    },

    async ofProfile(org, profiles) {
      const [codec] = await session.query<CodecRecord>(
        `SELECT ${RECORD} FROM registry.codecs WHERE org = $1 AND device_profiles && $2::text[]
         ORDER BY created_at, id LIMIT 1`,
        [org, profiles],
      );
      return codec ?? null;
    },

    list: (query) => listRows<CodecSummary>(session, 'registry.codecs', SUMMARY, query),

    update: (id, patch, expected, cascade = false) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, expected);
        if (before === null) return null;
        const next = {
          name: patch.name ?? before.name,
          script: patch.script ?? before.script,
          deviceProfiles: patch.deviceProfiles ?? before.deviceProfiles,
          description: patch.description ?? before.description,
        };
        checkScript(before.kind, next.script);
        if (next.name !== before.name && !cascade) checkUnnamed(await usesOf(tx, before.org, [before.name]));
        const [after] = await tx.query<Codec>(
          `UPDATE registry.codecs SET name = $2, script = $3, device_profiles = $4, description = $5,
             version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
          [id, next.name, next.script, next.deviceProfiles, next.description],
        );
        if (after === undefined) return null;
        tx.changed('codec', id, after.org, [id]);
        noteChange(tx, 'codecs', 'update', before, after);
        return after;
      }),

    remove: (id, cascade, expected) =>
      feed.transaction(async (tx) => {
        const codec = await locked(tx, id, expected);
        if (codec === null) return null;
        const uses = await usesOf(tx, codec.org, [codec.id, codec.name]);
        if (!cascade && uses.things + uses.channels > 0)
          throw new RegistryError('REGISTRY_IN_USE', 'never', { ...uses });
        await tx.query('DELETE FROM registry.codecs WHERE id = $1', [id]);
        tx.changed('codec', id, codec.org, [id]);
        noteChange(tx, 'codecs', 'delete', codec, null);
        return uses;
      }),
  };
}

/** @param names its id and name, or one of them */
async function usesOf(tx: Session, org: string, names: readonly string[]): Promise<CodecUses> {
  const count = (table: string): string =>
    `(SELECT count(*) FROM registry.${table} WHERE org = $1 AND metadata @> ANY ($2::jsonb[]))::integer AS ${table}`;
  const naming = names.map((codec) => JSON.stringify({ lora: { codec } }));
  const [uses] = await tx.query<CodecUses>(`SELECT ${count('things')}, ${count('channels')}`, [org, naming]);
  return uses ?? { things: 0, channels: 0 };
}

function checkUnnamed({ things, channels }: CodecUses): void {
  if (things + channels === 0) return;
  const because = `it is that of things ${things}, channels ${channels}: have them name its id first, or add ?cascade=true`;
  throw new RegistryError('REGISTRY_INVALID', 'never', { field: 'name', because });
}

function checkScript(kind: CodecRecord['kind'], script: string): void {
  const invalid = (because: string): RegistryError =>
    new RegistryError('REGISTRY_INVALID', 'never', { field: 'script', because });
  if (kind === 'javascript' && script.trim() === '') throw invalid('is missing');
  if (kind !== 'javascript' && script !== '') throw invalid(`can not be given: ${kind} is built in`);
}
