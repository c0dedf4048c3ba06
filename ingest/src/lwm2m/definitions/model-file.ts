import { SaxesParser } from 'saxes';

export const RESOURCE_TYPES = ['string', 'integer', 'float', 'boolean', 'opaque', 'time', 'objlnk', 'none'] as const;
export type ResourceType = (typeof RESOURCE_TYPES)[number];

/** A resource as the Open Mobile Alliance's registry describes it. */
export interface ResourceDefinition {
  readonly id: number;
  readonly name: string;
  /** Any of R, W and E. */
  readonly operations: string;
  readonly type: ResourceType;
  /** May have several instances. */
  readonly multiple: boolean;
  /** SenML's unit; "" where it has none. */
  readonly unit: string;
}

export interface ObjectDefinition {
  readonly id: number;
  readonly name: string;
  readonly version: string;
  readonly multiple: boolean;
  readonly resources: ReadonlyMap<number, ResourceDefinition>;
}

const ID_MAX = 65_534;
/** Registered objects stay far below. */
const RESOURCES_MAX = 2_048;
const NAME_CHARACTERS_MAX = 128;

const TYPES: Readonly<Record<string, ResourceType>> = {
  string: 'string',
  integer: 'integer',
  'unsigned integer': 'integer',
  float: 'float',
  boolean: 'boolean',
  opaque: 'opaque',
  time: 'time',
  objlnk: 'objlnk',
  corelnk: 'string',
};

/** Reads the objects of one file in the form of the registry (`<LWM2M><Object>…`).
 *  @throws Error that says what is wrong with it: the file of an operator, not of a client
 *  @source LWM2M-v1_1.xsd */
export function parseModelFile(xml: string): ObjectDefinition[] {
  const objects: ObjectDefinition[] = [];
  const parser = new SaxesParser();
  let object: Record<string, string> = {};
  let resource: Record<string, string> | null = null;
  let resources = new Map<number, ResourceDefinition>();
  let text = '';
  parser.on('opentag', ({ name, attributes }) => {
    text = '';
    if (name === 'Object') {
      object = {};
      resources = new Map();
    }
    if (name === 'Item') resource = { id: String(attributes.ID ?? '') };
  });
  parser.on('text', (part) => {
    text += part;
  });
  parser.on('cdata', (part) => {
    text += part;
  });
  parser.on('closetag', ({ name }) => {
    if (name === 'Item' && resource !== null) {
      const made = resourceOf(resource);
      if (resources.size >= RESOURCES_MAX) throw new Error(`more than ${RESOURCES_MAX} resources in an object`);
      resources.set(made.id, made);
      resource = null;
    } else if (name === 'Object') {
      objects.push({
        id: idOf(object.ObjectID, 'ObjectID'),
        name: nameOf(object.Name),
        version: (object.ObjectVersion ?? '').trim() || '1.0',
        multiple: object.MultipleInstances?.trim() === 'Multiple',
        resources,
      });
    } else if (resource !== null) resource[name] = text;
    else object[name] = text;
    text = '';
  });
  parser.on('error', (error) => {
    throw error;
  });
  parser.write(xml).close();
  if (objects.length === 0) throw new Error('no <Object> in it');
  return objects;
}

function resourceOf(fields: Readonly<Record<string, string>>): ResourceDefinition {
  const type = (fields.Type ?? '').trim().toLowerCase();
  return {
    id: idOf(fields.id, 'Item ID'),
    name: nameOf(fields.Name),
    operations: (fields.Operations ?? '')
      .trim()
      .toUpperCase()
      .replaceAll(/[^RWE]/g, ''),
    type: type === '' ? 'none' : (TYPES[type] ?? 'string'),
    multiple: fields.MultipleInstances?.trim() === 'Multiple',
    unit: unitOf(fields.Units ?? ''),
  };
}

function idOf(text: string | undefined, what: string): number {
  const id = Number((text ?? '').trim() || 'none');
  if (!Number.isInteger(id) || id < 0 || id > ID_MAX) throw new Error(`${what} is no number of 0 to ${ID_MAX}`);
  return id;
}

const nameOf = (text: string | undefined): string =>
  (text ?? '').replaceAll(/\s+/g, ' ').trim().slice(0, NAME_CHARACTERS_MAX);

/** Some definitions say it in words of their own. */
const UNITS: Readonly<Record<string, string>> = { '%': '%', '/100': '%', C: 'Cel', KB: 'KB', '1/min': '1/min' };

/** Longest that is a unit and not a sentence about it. */
const UNIT_CHARACTERS_MAX = 16;

/** @source RFC 8428 §12.1, RFC 8798 */
export function unitOf(text: string): string {
  const unit = text.replaceAll(/\s+/g, ' ').trim();
  if (unit.length > UNIT_CHARACTERS_MAX || unit.includes(' ')) return '';
  return UNITS[unit] ?? unit;
}
