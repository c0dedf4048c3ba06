/** What no audit may ever hold, by words of a member's name. */
const SECRET_WORDS: ReadonlySet<string> = new Set([
  'key',
  'keys',
  'password',
  'passphrase',
  'secret',
  'token',
  'tokens',
  'digest',
  'hash',
  'sealed',
]);
/** Told by every change anyway. */
const SILENT: ReadonlySet<string> = new Set(['version', 'updatedAt', 'updated_at', 'createdAt', 'created_at', 'epoch']);
const VALUE_CHARACTERS_MAX = 1_024;
const DEPTH_MAX = 8;

/** Whether a member of this name may be a secret: `api_key`, `passwordHash`; not `key_id`. */
export function namesSecret(name: string): boolean {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  return words.at(-1) !== 'id' && words.some((word) => SECRET_WORDS.has(word));
}

/** A value without the members that may be secrets, at any depth. What is no text can be none. */
export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEPTH_MAX) return '…';
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((each) => withoutSecrets(each, depth + 1));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, each]) => !namesSecret(name) || typeof each === 'boolean' || typeof each === 'number')
      .map(([name, each]) => [name, withoutSecrets(each, depth + 1)]),
  );
}

/** What a change made of an entity, for the detail of its audit: `{ name: { from: 'a', to: 'b' } }`.
 *  Members that `after` has not are unchanged, so it may be a patch. Secrets are left out by their names, large values
 *  are told by their size. */
export function changedFields(before: object, after: object): Record<string, { from: unknown; to: unknown }> {
  const changes: Record<string, { from: unknown; to: unknown }> = {};
  const was = before as Readonly<Record<string, unknown>>;
  for (const [name, to] of Object.entries(after)) {
    if (to === undefined || SILENT.has(name) || namesSecret(name)) continue;
    const from = was[name] ?? null;
    if (sameJson(from, to)) continue;
    changes[name] = { from: shortened(withoutSecrets(from)), to: shortened(withoutSecrets(to)) };
  }
  return changes;
}

/** Whether two values say the same.  @holds members in another order do: PostgreSQL keeps them in its own */
export function sameJson(one: unknown, other: unknown): boolean {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, sorted(each)]),
  );
}

function shortened(value: unknown): unknown {
  const text = JSON.stringify(value) ?? '';
  return text.length <= VALUE_CHARACTERS_MAX ? value : `(${text.length} characters)`;
}
