import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { IngestError } from '../../error.ts';
import { OBJECTS } from './generated/objects.ts';
import { type ObjectDefinition, parseModelFile, type ResourceDefinition, type ResourceType } from './model-file.ts';
import { sensorUnit } from './sensor-unit.ts';

type ResourceLine = [id: number, name: string, operations: string, type: ResourceType, multiple: 0 | 1, unit: string];
type ObjectLine = [id: number, name: string, version: string, multiple: 0 | 1, resources: ResourceLine[]];

const FILES_MAX = 10_000;
const FILE_BYTES_MAX = 4_194_304;

/** What objects and resources are called, and of which type and unit they are. */
export class Definitions {
  readonly #objects: Map<number, ObjectDefinition>;

  constructor(objects: Iterable<ObjectDefinition>) {
    this.#objects = new Map([...objects].map((object) => [object.id, object]));
  }

  get size(): number {
    return this.#objects.size;
  }

  object(id: number): ObjectDefinition | undefined {
    return this.#objects.get(id);
  }

  resource(object: number, resource: number): ResourceDefinition | undefined {
    return this.#objects.get(object)?.resources.get(resource);
  }

  /** null: nobody told us. */
  typeOf(object: number, resource: number): ResourceType | null {
    return this.resource(object, resource)?.type ?? null;
  }

  /** "": none, or not known. */
  unitOf(object: number, resource: number): string {
    const definition = this.resource(object, resource);
    return definition === undefined || definition.unit === '' ? sensorUnit(object, resource) : definition.unit;
  }
}

/** The objects that come with us.  @source definitions/NOTICE.md */
export function bundledObjects(): ObjectDefinition[] {
  return OBJECTS.split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id, name, version, multiple, resources] = JSON.parse(line) as ObjectLine;
      return {
        id,
        name,
        version,
        multiple: multiple === 1,
        resources: new Map(
          resources.map(([resource, title, operations, type, many, unit]) => [
            resource,
            { id: resource, name: title, operations, type, multiple: many === 1, unit },
          ]),
        ),
      };
    });
}

/** The bundled objects, and those of an operator's files over them.
 *  @throws IngestError LWM2M_MODELS_INVALID with the file and what is wrong with it */
export function loadDefinitions(directory: string | undefined): Definitions {
  const objects = bundledObjects();
  if (directory === undefined) return new Definitions(objects);
  let file = directory;
  try {
    const names = readdirSync(directory).filter((name) => name.toLowerCase().endsWith('.xml'));
    if (names.length > FILES_MAX) throw new Error(`more than ${FILES_MAX} files`);
    for (const name of names.sort()) {
      file = join(directory, name);
      const xml = readFileSync(file, 'utf8');
      if (xml.length > FILE_BYTES_MAX) throw new Error(`larger than ${FILE_BYTES_MAX} bytes`);
      objects.push(...parseModelFile(xml));
    }
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new IngestError('LWM2M_MODELS_INVALID', 'never', { file, problem }, { cause });
  }
  return new Definitions(objects);
}
