import { StatementsBody, statementAnswer, statementsOf } from '../access/documents.ts';
import type { Names } from './names.ts';
import type { Problems } from './problems.ts';
import type { StatementInput } from './schemas.ts';

/** What a manifest's statements may call by name where the gate knows ids: `channels/{temperatures}/messages/*`,
 *  `group:{plant/hall-1}/things/*`. */
export const namedKinds = ['groups', 'roles', 'channels', 'things'] as const;
export type NamedKind = (typeof namedKinds)[number];

const UUID = '[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}';
const GROUP_NAME = /^group:\{([^{}]+)\}(?=\/)/;
const OBJECT_NAME = /^((?:group:[^/]*\/)?)(groups|roles|channels|things)\/\{([^{}]+)\}(?=\/|$)/;
const GROUP_ID = new RegExp(`^group:(${UUID})(?=/)`, 'i');
const OBJECT_ID = new RegExp(
  `^((?:group:(?:${UUID}|\\{[^{}]+\\})/)?)(groups|roles|channels|things)/(${UUID})(?=/|$)`,
  'i',
);

/** Kinds of what a resource calls by name. */
export function kindsNamed(resource: string): NamedKind[] {
  const kinds: NamedKind[] = [];
  withIds(resource, (kind) => {
    kinds.push(kind);
    return '';
  });
  return kinds;
}

/** A resource as the gate takes it. */
export const withIds = (resource: string, idOf: (kind: NamedKind, name: string) => string): string =>
  resource
    .replace(GROUP_NAME, (_, name: string) => `group:${idOf('groups', name)}`)
    .replace(OBJECT_NAME, (_, before: string, kind: NamedKind, name: string) => `${before}${kind}/${idOf(kind, name)}`);

/** A resource as a manifest has it.  @param nameOf the id itself where there is no name that will do */
export function withNames(resource: string, nameOf: (kind: NamedKind, id: string) => string): string {
  const named = (kind: NamedKind, id: string): string => {
    const name = nameOf(kind, id);
    return name === id || /[{}]/.test(name) ? id : `{${name}}`;
  };
  return resource
    .replace(GROUP_ID, (_, id: string) => `group:${named('groups', id)}`)
    .replace(OBJECT_ID, (_, before: string, kind: NamedKind, id: string) => `${before}${kind}/${named(kind, id)}`);
}

/** Statements with what they name found, checked as those of any policy.  @returns as people write them */
export function readStatements(
  given: readonly StatementInput[],
  path: string,
  names: Readonly<Record<NamedKind, Names>>,
  problems: Problems,
): ReturnType<typeof statementAnswer>[] {
  let found = true;
  const resolved = given.map((statement, at) => ({
    ...statement,
    resources: statement.resources.map((resource, index) =>
      withIds(resource, (kind, name) => {
        const id = names[kind].find(name, `${path}.statements[${at}].resources[${index}]`, problems);
        found &&= id !== null;
        return id ?? '';
      }),
    ),
  }));
  if (!found) return [];
  const checked = StatementsBody.safeParse(resolved);
  if (checked.success) return statementsOf(checked.data).map(statementAnswer);
  for (const issue of checked.error.issues) {
    const place = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
    problems.add(`${path}.statements${place}`, issue.message);
  }
  return [];
}
