import { expect, test } from 'vitest';
import { planText } from './manifest.ts';

test('a plan tells what would change, a thing a block', () => {
  const text = planText(
    [
      { action: 'create', kind: 'thing', name: 'pump', before: null, after: { name: 'pump', tags: ['a'] } },
      {
        action: 'update',
        kind: 'channel',
        name: 'kitchen',
        before: { name: 'Kitchen', alias: 'k', enabled: true },
        after: { name: 'Kitchen', alias: 'kitchen', enabled: true },
      },
      { action: 'delete', kind: 'group', id: '7', before: { name: 'evil\u001b[2J' } },
    ],
    false,
  );
  expect(text).toBe(
    [
      '+ thing pump',
      '    name: pump',
      '    tags: a',
      '~ channel kitchen',
      '    alias: k → kitchen',
      '- group 7',
      '',
      '1 to create, 1 to change, 1 to delete',
      '',
    ].join('\n'),
  );
});

test('names in a plan do nothing to the terminal', () => {
  const text = planText([{ action: 'delete', kind: 'thing', name: 'evil\u001b[2J' }], false);
  expect(text.includes('\u001b')).toBe(false);
});

test('nothing to do is said in words', () => {
  expect(planText([], true)).toContain('Nothing to do');
});
