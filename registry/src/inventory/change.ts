import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeSession } from '../changes.ts';
import { RegistryError } from '../error.ts';

interface Versioned {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly version: number;
}

/** @param expected the version that the change was made for; null: any  @throws RegistryError REGISTRY_VERSION_MISMATCH */
export function checkVersion(entity: string, { id, version }: Versioned, expected: number | null): void {
  if (expected !== null && expected !== version)
    throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { entity, id, version, expected });
}

/** Writes down that something was made, changed or deleted, and which of its members. A change that only enables or
 *  disables is told as that.
 *  @param entity in the plural */
export function noteChange<T extends Versioned>(
  tx: ChangeSession,
  entity: string,
  verb: string,
  before: T | null,
  after: T | null,
): void {
  const one = after ?? before;
  if (one === null) return;
  const changed = before === null || after === null ? {} : difference(before, after);
  const [only, ...others] = Object.keys(changed);
  const switched = verb === 'update' && only === 'enabled' && others.length === 0;
  const enabled = (after as { enabled?: boolean } | null)?.enabled === true;
  tx.audit({
    action: `${entity}.${switched ? (enabled ? 'enable' : 'disable') : verb}`,
    entity,
    id: one.id,
    org: one.org,
    detail: { name: one.name, ...(only === undefined ? {} : { changed }) },
  });
}

/** Which groups stand above follows from `groupId`. */
function difference(before: object, after: object): Record<string, { from: unknown; to: unknown }> {
  const { groups: _, ...rest } = after as { groups?: unknown };
  return Object.fromEntries(Object.entries(changedFields(before, rest)).map(([name, change]) => [snake(name), change]));
}

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
