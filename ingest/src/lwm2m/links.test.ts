import fc from 'fast-check';
import { expect, test } from 'vitest';
import { deviceLinks, parseLinks, rootOf } from './links.ts';

const objects = (text: string) => {
  const links = parseLinks(text, 100);
  return links === null ? null : deviceLinks(links);
};

test('reads what a device lists, with the formats of its root link, and leaves its attributes', () => {
  const text = '</>;rt="oma.lwm2m";ct="60 110 112 11542 11543", </1>;ver=1.1,</1/0>,</3/0>,</3303>;ver="1.1",</3303/0>';
  expect(objects(text)).toEqual({
    objects: ['/1', '/1/0', '/3/0', '/3303', '/3303/0'],
    formats: [60, 110, 112, 11_542, 11_543],
  });
});

test('knows a root that is not at the top', () => {
  const listed = objects('</lwm2m>;rt="oma.lwm2m";ct=11543,</lwm2m/3/0>,</lwm2m/3303/0>');
  expect(listed).toEqual({ objects: ['/lwm2m/3/0', '/lwm2m/3303/0'], formats: [11_543] });
  expect(rootOf(listed?.objects ?? [])).toBe('/lwm2m');
  expect(rootOf(['/3/0'])).toBe('');
  expect(rootOf([])).toBe('');
});

test('passes over what is no object of LwM2M', () => {
  expect(objects('</sensors/temp>;rt="temperature",</3/0/1>,</70000/0/1/2>,</3/0>')).toEqual({
    objects: ['/3/0'],
    formats: null,
  });
});

test('lets a comma and a semicolon stand in a quoted attribute', () => {
  expect(parseLinks('</3/0>;title="a,b;c";x,</4/0>', 10)).toEqual([
    { target: '/3/0', attributes: { title: 'a,b;c', x: '' } },
    { target: '/4/0', attributes: {} },
  ]);
});

test.each(['3/0', '</3/0', '</3/0>x', '</3/0>;a="b', '</3/0>,,</4/0>'])('refuses %s', (text) => {
  expect(parseLinks(text, 10)).toBeNull();
});

test('refuses more links than are taken', () => {
  expect(parseLinks(Array.from({ length: 11 }, (_, index) => `</3303/${index}>`).join(','), 10)).toBeNull();
});

test('is no fault, whatever comes', () => {
  const piece = fc.constantFrom('<', '>', ';', ',', '"', '=', '/', 'a', '3', ' ', '__proto__');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece).map((pieces) => pieces.join('')),
      ),
      (text) => {
        const links = parseLinks(text, 20);
        if (links !== null) deviceLinks(links);
      },
    ),
    { numRuns: 5_000 },
  );
});
