/** As much of a JSON Schema as the page tells. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
/** Text with what stands in backticks as code. */
export const prose = (text: string): string => escapeHtml(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');

/** A schema as nested lists: names of others are links, what has members can be opened.
 *  @holds ends, since what refers to itself does so by a link */
export function schemaHtml(schema: Schema): string {
  const members = membersHtml(schema);
  return `${typeHtml(schema)}${members}`;
}

/** What it is, in a line. */
export function typeHtml(schema: Schema): string {
  const { $ref, type, items, anyOf, oneOf, allOf } = schema;
  if ($ref !== undefined) {
    const name = escapeHtml($ref.slice($ref.lastIndexOf('/') + 1));
    return `<a href="#schema-${name}">${name}</a>`;
  }
  const choices = anyOf ?? oneOf;
  if (choices !== undefined) return choices.map(typeHtml).join(' <small>or</small> ');
  if (allOf !== undefined) return allOf.map(typeHtml).join(' <small>and</small> ');
  const types = type === undefined ? 'anything' : [type].flat().join(' or ');
  const told = items === undefined ? types : `${types} of ${typeHtml(items)}`;
  return `<small>${told}${boundsHtml(schema)}</small>`;
}

function boundsHtml(schema: Schema): string {
  const {
    format,
    enum: values,
    const: only,
    pattern,
    minimum,
    maximum,
    minLength,
    maxLength,
    minItems,
    maxItems,
  } = schema;
  const range = (least: number | undefined, most: number | undefined, unit: string): string[] => {
    const from = least === undefined || least < -1e15 ? '' : String(least);
    const to = most === undefined || most > 1e15 ? '' : String(most);
    return from === '' && to === '' ? [] : [`${from}…${to}${unit}`];
  };
  const told = [
    ...(format === undefined ? [] : [format]),
    ...(values === undefined ? [] : [values.map((value) => JSON.stringify(value)).join(' | ')]),
    ...(only === undefined ? [] : [JSON.stringify(only)]),
    ...range(minimum, maximum, ''),
    ...range(minLength, maxLength, ' characters'),
    ...range(minItems, maxItems, ' items'),
    ...(pattern === undefined ? [] : [pattern]),
  ];
  return told.length === 0 ? '' : `, <code>${told.map(escapeHtml).join('</code>, <code>')}</code>`;
}

function membersHtml(schema: Schema): string {
  const parts = [schema, ...(schema.allOf ?? []), ...(schema.anyOf ?? schema.oneOf ?? [])].filter(
    ({ $ref }) => $ref === undefined,
  );
  const lists = parts.map((part) => {
    const of = part.items?.$ref === undefined ? part.items : undefined;
    return listHtml(part) + (of === undefined ? '' : membersHtml(of));
  });
  return lists.join('');
}

function listHtml({ properties = {}, required = [] }: Schema): string {
  const entries = Object.entries(properties);
  if (entries.length === 0) return '';
  const lines = entries.map(([name, schema]) => {
    const mark = required.includes(name) ? '' : ' <i>optional</i>';
    const told = schema.description === undefined ? '' : ` ${prose(schema.description)}`;
    const head = `<code>${escapeHtml(name)}</code>${mark} ${typeHtml(schema)}${told}`;
    const inner = membersHtml(schema);
    return `<li>${inner === '' ? head : `<details><summary>${head}</summary>${inner}</details>`}</li>`;
  });
  return `<ul>${lines.join('')}</ul>`;
}
