import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { bundledObjects, Definitions, loadDefinitions } from './definitions.ts';
import { unitOf } from './model-file.ts';

const definitions = new Definitions(bundledObjects());
const MODEL = `<?xml version="1.0"?><LWM2M><Object ObjectType="MODefinition"><Name>Well</Name><ObjectID>40000</ObjectID>
  <ObjectVersion>2.0</ObjectVersion><MultipleInstances>Multiple</MultipleInstances><Resources>
  <Item ID="1"><Name>Level</Name><Operations>RW</Operations><MultipleInstances>Single</MultipleInstances>
  <Type>Float</Type><Units>m</Units></Item></Resources></Object></LWM2M>`;

function directory(files: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-models-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

test('knows the objects of the core specification and those of sensors by name', () => {
  const names = [0, 1, 2, 3, 4, 5, 6, 7, 9, 3200, 3202, 3300, 3303, 3304, 3315, 3336, 3350].map(
    (id) => definitions.object(id)?.name,
  );
  expect(names).toEqual([
    'LWM2M Security',
    'LwM2M Server',
    'LwM2M Access Control',
    'Device',
    'Connectivity Monitoring',
    'Firmware Update',
    'Location',
    'Connectivity Statistics',
    'LWM2M Software Management',
    'Digital Input',
    'Analog Input',
    'Generic Sensor',
    'Temperature',
    'Humidity',
    'Barometer',
    'Location',
    'Stopwatch',
  ]);
});

test('knows types and units, those of sensors by what their objects are for', () => {
  expect(definitions.resource(5, 0)).toMatchObject({ name: 'Package', type: 'opaque', operations: 'W' });
  expect(definitions.unitOf(3, 9)).toBe('%');
  expect(definitions.unitOf(6, 0)).toBe('lat');
  expect(definitions.unitOf(3303, 5700)).toBe('Cel');
  expect(definitions.unitOf(3304, 5700)).toBe('%RH');
  expect(definitions.unitOf(3303, 5518)).toBe('');
  expect(definitions.unitOf(3300, 5700)).toBe('');
  expect(definitions.typeOf(9999, 1)).toBeNull();
});

test('every bundled object has resources, each with a type that we know', () => {
  expect(definitions.size).toBeGreaterThan(100);
  for (const object of bundledObjects()) {
    expect(object.resources.size, object.name).toBeGreaterThan(0);
    for (const resource of object.resources.values()) expect(resource.unit).not.toMatch(/\s/);
  }
});

test("takes an operator's objects beside ours, and theirs for ours", () => {
  const loaded = loadDefinitions(
    directory({ '40000.xml': MODEL, '3303.xml': MODEL.replace('40000', '3303'), 'readme.txt': 'no XML' }),
  );
  expect(loaded.unitOf(40_000, 1)).toBe('m');
  expect(loaded.object(3303)?.name).toBe('Well');
  expect(loaded.object(3)?.name).toBe('Device');
});

test.each([
  ['is no XML', '<LWM2M>'],
  ['has no object', '<LWM2M></LWM2M>'],
  ['has an object without a number', MODEL.replace('40000', 'none')],
  ['has a resource without a number', MODEL.replace('ID="1"', 'ID="x"')],
])('says which file is wrong: one that %s', (_, text) => {
  const path = directory({ 'mine.xml': text });
  expect(() => loadDefinitions(path)).toThrow(
    expect.objectContaining({
      code: 'LWM2M_MODELS_INVALID',
      facts: expect.objectContaining({ file: join(path, 'mine.xml') }),
    }),
  );
});

test('says so when there is no such directory', () => {
  expect(() => loadDefinitions('/nowhere/at/all')).toThrow(expect.objectContaining({ code: 'LWM2M_MODELS_INVALID' }));
});

test.each([
  ['/100', '%'],
  ['C', 'Cel'],
  [' s ', 's'],
  ['Defined by "Units" resource.', ''],
])('a unit of %s is %s', (text, unit) => {
  expect(unitOf(text)).toBe(unit);
});
