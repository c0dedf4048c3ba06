/** Makes `generated/objects.ts` of the OMA's object files as Eclipse Leshan packs them:
 *
 *    mvn dependency:copy -DoutputDirectory=. -Dartifact=org.eclipse.leshan:leshan-server-demo:2.0.0-M4
 *    mvn dependency:copy -DoutputDirectory=. -Dartifact=org.eclipse.leshan:leshan-lwm2m-core:2.0.0-M18
 *    unzip -qo leshan-server-demo-*.jar 'models/*';  unzip -qo leshan-lwm2m-core-*.jar 'models/*'
 *    node --import tsx --conditions=source ingest/src/lwm2m/definitions/generate.ts models
 *
 *  The later jar has newer ones of the objects 0 to 7. Only files under the BSD 3-clause licence are taken (NOTICE.md). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ObjectDefinition, parseModelFile } from './model-file.ts';

/** Of the core specification and its companions, IPSO's, and those of lighting, metering and smart cities. Names of single makers' objects
 *  (10241 …) come by MILLRACE_LWM2M_MODELS. */
const wanted = (id: number): boolean => id <= 503 || (id >= 3200 && id < 4_000);

const directory = process.argv[2];
if (directory === undefined) throw new Error('generate.ts <directory of XML files>');
const objects = new Map<number, ObjectDefinition>();
const holders = new Set<string>();
// `3303-1_0.xml` is an older version of what `3303.xml` has; the newest comes last.
const files = readdirSync(directory).filter((name) => /^\d+(-\d+_\d+)?\.xml$/.test(name));
for (const file of files.sort((a, b) => (`${a.replace('.xml', '')}~` < `${b.replace('.xml', '')}~` ? -1 : 1))) {
  const xml = readFileSync(join(directory, file), 'utf8');
  if (!xml.includes('Redistribution and use in source and binary forms')) continue;
  for (const object of parseModelFile(xml)) {
    if (!wanted(object.id)) continue;
    objects.set(object.id, object);
    for (const [, holder] of xml.matchAll(/Copyright (?:\(c\) )?(\d{4},? [^.\r\n<]+)/g)) {
      if (!holder?.includes('copyright')) holders.add((holder as string).trim());
    }
  }
}
const lines = [...objects.values()]
  .sort((a, b) => a.id - b.id)
  .map(({ id, name, version, multiple, resources }) =>
    JSON.stringify([
      id,
      name,
      version,
      multiple ? 1 : 0,
      [...resources.values()].map((r) => [r.id, r.name, r.operations, r.type, r.multiple ? 1 : 0, r.unit]),
    ]),
  );
const source = `// Made by definitions/generate.ts. Licence of what it says: definitions/NOTICE.md.
/** @shape lines of JSON: [id, name, version, multiple, [[id, name, operations, type, multiple, unit], …]] */
export const OBJECTS: string = String.raw\`
${lines.join('\n').replaceAll('`', "'").replaceAll('${', '$ {')}
\`;
`;
writeFileSync(new URL('./generated/objects.ts', import.meta.url), source);
process.stdout.write(
  `${objects.size} objects, ${source.length} characters; holders:\n${[...holders].sort().join('\n')}\n`,
);
