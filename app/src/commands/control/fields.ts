import { Failure } from './failure.ts';
import { readDocument, readInput, secretOf } from './input.ts';
import { type Call, flag, type OptionSpecification, text } from './specification.ts';

/** A member of a body, given by a flag. */
export interface Field {
  /** As commander writes it: `--name <name>`. */
  readonly flags: string;
  readonly description: string;
  /** Of the body, as the API calls it. */
  readonly member: string;
  /** file: the path of a text; secret: itself, or `@<path>` of it. */
  readonly kind?: 'text' | 'number' | 'json' | 'list' | 'yes' | 'no' | 'nullable' | 'file' | 'secret';
  readonly choices?: readonly string[];
  /** Can't be changed later. */
  readonly onlyNew?: true;
}

export const FILE: OptionSpecification = {
  flags: '-f, --file <path>',
  description: 'JSON or YAML to read it from, - for standard input; flags go before it',
};

export const NAMING: readonly Field[] = [
  { flags: '--id <uuid>', description: 'its id; made if left out', member: 'id', onlyNew: true },
  { flags: '--name <name>', description: 'its name', member: 'name' },
  {
    flags: '--metadata <json>',
    description: 'anything to keep with it, as a JSON object',
    member: 'metadata',
    kind: 'json',
  },
  { flags: '--tags <tags>', description: 'comma-separated', member: 'tags', kind: 'list' },
];

export const GROUP_FIELD: Field = {
  flags: '--group-id <uuid>',
  description: 'group that it is in; none: out of any',
  member: 'group_id',
  kind: 'nullable',
};

export const optionsOf = (fields: readonly Field[], changing: boolean): OptionSpecification[] =>
  fields
    .filter(({ onlyNew }) => !changing || onlyNew !== true)
    .map(({ flags, description, choices }) => ({
      flags,
      description,
      ...(choices === undefined ? {} : { choices }),
    }));

/** commander's name of an option: `--external-id <id>` is `externalId`. */
const optionName = (flags: string): string =>
  (/--([a-z-]+)/.exec(flags)?.[1] ?? '').replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** The members that flags gave.  @throws Failure 2 */
export function flagsOf(call: Call, fields: readonly Field[]): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const field of fields) {
    const name = optionName(field.flags);
    if (field.kind === 'yes' || field.kind === 'no') {
      if (flag(call, name)) body[field.member] = field.kind === 'yes';
      continue;
    }
    const given = text(call, name);
    if (given !== undefined) body[field.member] = memberValue(field, given);
  }
  return body;
}

function memberValue({ kind = 'text', flags }: Field, given: string): unknown {
  switch (kind) {
    case 'number': {
      const value = Number(given);
      if (given.trim() === '' || !Number.isFinite(value)) throw new Failure(2, `${flags}: “${given}” is no number.`);
      return value;
    }
    case 'json':
      try {
        return JSON.parse(given);
      } catch {
        throw new Failure(2, `${flags}: this is no JSON: ${given}`, `As: ${flags.split(' ')[0]} '{"room":"kitchen"}'`);
      }
    case 'list':
      return given
        .split(',')
        .map((one) => one.trim())
        .filter((one) => one !== '');
    case 'nullable':
      return given === '' || given === 'none' ? null : given;
    case 'file':
      return readInput(given);
    case 'secret':
      return given === 'none' ? null : secretOf(given);
    default:
      return given;
  }
}

/** What `-f` names, one or many, with the members that flags gave over each.  @throws Failure 2 */
export async function bodiesOf(call: Call, fields: readonly Field[]): Promise<Record<string, unknown>[]> {
  const given = flagsOf(call, fields);
  const path = text(call, 'file');
  if (path === undefined) return [given];
  const document = await readDocument(path);
  const list = Array.isArray(document) ? document : [document];
  return list.map((one) => {
    if (one === null || typeof one !== 'object' || Array.isArray(one))
      throw new Failure(2, `${path}: each must be an object.`);
    return { ...one, ...given };
  });
}

/** The one body of a change.  @throws Failure 2 when nothing is to be changed */
export async function bodyOf(call: Call, fields: readonly Field[]): Promise<Record<string, unknown>> {
  const [body, ...more] = await bodiesOf(call, fields);
  if (body === undefined || more.length > 0) throw new Failure(2, 'One is expected, not a list.');
  if (Object.keys(body).length === 0)
    throw new Failure(2, 'Nothing is to be changed.', 'Give a flag, or a file with -f.');
  return body;
}
