import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bindingStatement } from './binding.ts';

/** What the engine's lexer takes for one literal: plain characters and bytes in hexadecimal, nothing that could end it. */
const LITERAL = String.raw`'(?:[A-Za-z0-9_ .,:;/=+@()\[\]{}-]|\\x[0-9a-f]{2})*'`;
const STATEMENT = new RegExp(`^SET param_[A-Za-z_]\\w*=${LITERAL}(?:, param_[A-Za-z_]\\w*=${LITERAL})*$`);
/** Undoes the literal, then the engine's escaped text. */
const read = (statement: string): string => {
  const inside = /'(.*)'$/s.exec(statement)?.[1] ?? '';
  const bytes = inside.replace(
    /\\x(..)|(.)/gs,
    (_, hex?: string, plain?: string) => hex ?? Buffer.from(plain ?? '').toString('hex'),
  );
  const names: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', b: '\b', f: '\f', '0': '\0' };
  return Buffer.from(bytes, 'hex')
    .toString()
    .replace(/\\(.)/gs, (_, each: string) => names[each] ?? each);
};

test('whatever a value is, it stays inside its literal and comes back as it was', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...`'\\"\n\t\0x;-`) })),
      (text) => {
        const statement = bindingStatement({ text }, new Set()) ?? '';
        expect(statement).toMatch(STATEMENT);
        expect(read(statement)).toBe(text);
      },
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' })), fc.double(), (list, number) => {
      expect(bindingStatement({ list, number, none: null, yes: true }, new Set())).toMatch(STATEMENT);
    }),
  );
});

test('a session forgets what the question before had bound', () => {
  const held = new Set<string>();
  bindingStatement({ org: 'acme', limit: 5 }, held);
  expect(bindingStatement({ limit: 6 }, held)).toBe("SET param_limit='6', param_org=''");
  expect(bindingStatement({}, held)).toBe("SET param_limit=''");
  expect(bindingStatement({}, held)).toBe(null);
});

test('a name that is none is a fault of ours', () => {
  expect(() => bindingStatement({ "x='', param_y": 1 }, new Set())).toThrow('no name of a parameter');
});
