import pg from 'pg';

/** What each organisation of the population holds. Each policy is attached once, so that some 25 of them concern a thing
 *  or a user: their own, and those of the four groups above a thing or of the role of a user. */
export const OF_ORG = { policies: 1_000, things: 40, channels: 20, groups: 40, users: 20, roles: 20 } as const;

const KINDS = { org: 1, group: 2, channel: 3, thing: 4, user: 5, role: 6, policy: 7, key: 8 } as const;
export type Kind = keyof typeof KINDS;

/** Ids in order of their making, as those of UUIDv7 are. */
export const idOf = (kind: Kind, index: number): string =>
  `${KINDS[kind].toString(16).padStart(8, '0')}-0000-7000-8000-${index.toString(16).padStart(12, '0')}`;
const sqlId = (kind: Kind, index: string): string =>
  `('${KINDS[kind].toString(16).padStart(8, '0')}-0000-7000-8000-' || lpad(to_hex(${index}), 12, '0'))::uuid`;

/** Two statements: publishing under a condition, and reading of what the policy's number names. */
const STATEMENTS = `jsonb_build_array(
  jsonb_build_object('sid', 'write', 'effect', 'allow', 'actions', jsonb_build_array('publish'),
    'resources', jsonb_build_array('channels/' || ${sqlId('channel', `org * ${OF_ORG.channels} + n % ${OF_ORG.channels}`)} || '/messages/p' || n || '*'),
    'condition', jsonb_build_object('address', jsonb_build_array('10.0.0.0/8'))),
  jsonb_build_object('sid', 'read', 'effect', CASE WHEN n % 10 = 0 THEN 'deny' ELSE 'allow' END,
    'actions', jsonb_build_array('things.read', 'channels.read'),
    'resources', jsonb_build_array('things/' || ${sqlId('thing', `org * ${OF_ORG.things} + n % ${OF_ORG.things}`)},
      'group:' || ${sqlId('group', `org * ${OF_ORG.groups} + n % ${OF_ORG.groups}`)} || '/channels/*')))`;
const ATTACHMENT = `(ARRAY['thing', 'thing', 'group', 'user', 'user', 'role'])[n % 6 + 1]`;
const TARGET = `CASE n % 6
    WHEN 2 THEN ${sqlId('group', `org * ${OF_ORG.groups} + (n / 6) % ${OF_ORG.groups}`)}::text
    WHEN 3 THEN ${sqlId('user', `org * ${OF_ORG.users} + (n / 6) % ${OF_ORG.users}`)}::text
    WHEN 4 THEN ${sqlId('user', `org * ${OF_ORG.users} + (n / 6) % ${OF_ORG.users}`)}::text
    WHEN 5 THEN ${sqlId('role', `org * ${OF_ORG.roles} + (n / 6) % ${OF_ORG.roles}`)}::text
    ELSE ${sqlId('thing', `org * ${OF_ORG.things} + (n / 6) % ${OF_ORG.things}`)}::text END`;

const each = (kind: keyof typeof OF_ORG): string =>
  `generate_series(0, $1::integer - 1) AS org, generate_series(0, ${OF_ORG[kind] - 1}) AS n`;
const inOrder = (kind: Exclude<Kind, 'org' | 'key' | 'policy'>): string =>
  sqlId(kind, `org * ${OF_ORG[`${kind}s`]} + n`);
const group = (index: string): string => sqlId('group', `org * ${OF_ORG.groups} + ${index}`);
/** A tree with three below each, four deep. */
const ANCESTORS = `CASE WHEN n = 0 THEN ARRAY[]::uuid[] WHEN n < 4 THEN ARRAY[${group('0')}]
    WHEN n < 13 THEN ARRAY[${group('0')}, ${group('(n - 1) / 3')}]
    ELSE ARRAY[${group('0')}, ${group('((n - 1) / 3 - 1) / 3')}, ${group('(n - 1) / 3')}] END`;
const LEAF = group('13 + n % 27');

/** @shape $1 organisations */
const FILL: readonly (readonly [what: string, sql: string])[] = [
  [
    'organisations',
    `INSERT INTO registry.orgs (id, name) SELECT ${sqlId('org', 'org')}, 'org ' || org
    FROM generate_series(0, $1::integer - 1) AS org`,
  ],
  [
    'groups',
    `INSERT INTO registry.groups (id, org, parent, ancestors, name)
    SELECT ${inOrder('group')}, ${sqlId('org', 'org')}, CASE WHEN n = 0 THEN NULL ELSE ${group('(n - 1) / 3')} END,
      ${ANCESTORS}, 'group ' || n FROM ${each('groups')}`,
  ],
  [
    'channels',
    `INSERT INTO registry.channels (id, org, name, group_id)
    SELECT ${inOrder('channel')}, ${sqlId('org', 'org')}, 'channel ' || n, ${LEAF} FROM ${each('channels')}`,
  ],
  [
    'things',
    `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed, group_id, metadata)
    SELECT ${inOrder('thing')}, ${sqlId('org', 'org')}, 'thing ' || n, 'device', 'digest ' || org || ' ' || n, '',
      ${LEAF}, '{"site": "north"}' FROM ${each('things')}`,
  ],
  [
    'connections',
    `INSERT INTO registry.connections (thing, channel, org, publish, subscribe)
    SELECT ${inOrder('thing')}, ${sqlId('channel', `org * ${OF_ORG.channels} + n % ${OF_ORG.channels}`)}, ${sqlId('org', 'org')}, true, true
    FROM ${each('things')}`,
  ],
  [
    'users',
    `INSERT INTO registry.users (id, email, password_hash)
    SELECT ${inOrder('user')}, 'user' || n || '@org' || org || '.example.org', '' FROM ${each('users')}`,
  ],
  [
    'roles',
    `INSERT INTO registry.roles (id, org, name, actions)
    SELECT ${inOrder('role')}, ${sqlId('org', 'org')}, 'role ' || n, ARRAY['things.read', 'things.list', 'channels.*'] FROM ${each('roles')}`,
  ],
  [
    'memberships',
    `INSERT INTO registry.memberships (user_id, org, role, custom_role)
    SELECT ${inOrder('user')}, ${sqlId('org', 'org')}, NULL, ${sqlId('role', `org * ${OF_ORG.roles} + n % ${OF_ORG.roles}`)} FROM ${each('users')}`,
  ],
  [
    'roles in groups',
    `INSERT INTO registry.group_roles (group_id, user_id, org, role)
    SELECT ${LEAF}, ${inOrder('user')}, ${sqlId('org', 'org')}, 'editor' FROM ${each('users')}`,
  ],
  [
    'policies',
    `INSERT INTO registry.policies (id, org, name, statements)
    SELECT ${sqlId('policy', `org * ${OF_ORG.policies} + n`)}, ${sqlId('org', 'org')}, 'policy ' || n, ${STATEMENTS} FROM ${each('policies')}`,
  ],
  [
    'attachments',
    `INSERT INTO registry.policy_attachments (policy, org, kind, target)
    SELECT ${sqlId('policy', `org * ${OF_ORG.policies} + n`)}, ${sqlId('org', 'org')}, ${ATTACHMENT}, ${TARGET} FROM ${each('policies')}`,
  ],
];

/** Fills a registry that has been migrated. What is inserted is consistent, so nothing checks it row by row.
 *  @returns how many organisations there are */
export async function populate(
  url: string,
  policies: number,
  progress: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<number> {
  const orgs = Math.max(1, Math.round(policies / OF_ORG.policies));
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('SET session_replication_role = replica');
    for (const [what, sql] of FILL) {
      signal?.throwIfAborted();
      const { rowCount } = await client.query(sql, [orgs]);
      progress(`${rowCount ?? 0} ${what}`);
    }
    await client.query('VACUUM ANALYZE');
  } finally {
    await client.end();
  }
  return orgs;
}

/** Gives things keys and users API keys that somebody knows. */
export async function giveKeys(
  url: string,
  things: readonly { readonly id: string; readonly digest: string }[],
  users: readonly { readonly id: string; readonly org: string; readonly digest: string }[],
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(
      `UPDATE registry.things SET key_digest = given.digest FROM unnest($1::uuid[], $2::text[]) AS given (id, digest)
       WHERE things.id = given.id`,
      [things.map(({ id }) => id), things.map(({ digest }) => digest)],
    );
    await client.query(
      `INSERT INTO registry.api_keys (id, org, user_id, name, digest, grants)
       SELECT ${sqlId('key', 'nth::integer')}, org, id, 'bench', digest, $4
       FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS given (id, org, digest, nth)`,
      [
        users.map(({ id }) => id),
        users.map(({ org }) => org),
        users.map(({ digest }) => digest),
        JSON.stringify([{ actions: ['things.read', 'subscribe'], resources: ['things/*', 'channels/*'] }]),
      ],
    );
    await client.query('VACUUM ANALYZE registry.things, registry.api_keys');
  } finally {
    await client.end();
  }
}
