import { idOf } from './entity.ts';
import { type Call, texts } from './specification.ts';
import { column, time } from './table.ts';

/** The ids of what `--thing` or `--channel` name. */
export async function allIds(call: Call, kind: 'thing' | 'channel'): Promise<string[]> {
  const client = await call.client();
  const collection = kind === 'thing' ? client.things : client.channels;
  const ids: string[] = [];
  for (const reference of texts(call, kind) ?? []) ids.push(await idOf(collection as never, kind, reference));
  return ids;
}

/** A built-in role by name, another by id. */
export const roleChoice = (role: string): 'owner' | 'admin' | 'editor' | 'viewer' | { readonly id: string } =>
  role === 'owner' || role === 'admin' || role === 'editor' || role === 'viewer' ? role : { id: role };

export const CONNECTED_COLUMNS = [
  column('ID', 'id'),
  column('NAME', 'name'),
  column('ENABLED', 'enabled'),
  column('MAY', 'types'),
];
export const RULE_COLUMNS = [
  column('EFFECT', 'effect'),
  column('ACTIONS', 'actions'),
  column('RESOURCES', 'resources'),
  column('CONDITION', 'condition'),
  {
    title: 'BY',
    value: (row: Readonly<Record<string, unknown>>) => {
      const { kind = '', name, id } = (row.source ?? {}) as { kind?: string; name?: string; id?: string };
      return `${kind} ${name ?? id ?? ''}`;
    },
  },
];
export const THING_COLUMNS = [
  column('ID', 'id'),
  column('NAME', 'name'),
  column('TYPE', 'type'),
  column('ENABLED', 'enabled'),
  {
    title: 'ONLINE',
    value: (row: Readonly<Record<string, unknown>>) => (row.presence as { online?: boolean } | undefined)?.online ?? '',
  },
  column('TAGS', 'tags'),
  time('CREATED', 'created_at'),
  column('EXTERNAL ID', 'external_id', { wide: true }),
  column('GROUP', 'group_id', { wide: true }),
  column('GATEWAY', 'gateway', { wide: true }),
  column('VERSION', 'version', { wide: true, align: 'right' }),
  column('METADATA', 'metadata', { wide: true }),
];
export const CHANNEL_COLUMNS = [
  column('ID', 'id'),
  column('NAME', 'name'),
  column('ALIAS', 'alias'),
  column('ENABLED', 'enabled'),
  column('CONTENT TYPE', 'content_type'),
  column('TAGS', 'tags'),
  time('CREATED', 'created_at'),
  column('GROUP', 'group_id', { wide: true }),
  column('PROFILE', 'profile', { wide: true }),
  column('LIMITS', 'limits', { wide: true }),
  column('VERSION', 'version', { wide: true, align: 'right' }),
  column('METADATA', 'metadata', { wide: true }),
];
