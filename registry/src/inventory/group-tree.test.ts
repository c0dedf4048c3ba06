import { expect, test } from 'vitest';
import { nest } from './group-tree.ts';

const row = (id: string, parent: string | null) => ({ id, parent, name: id, enabled: true });
const node = (id: string, ...children: object[]) => ({ id, name: id, enabled: true, children });

test('groups lie in their parents, in the order in which they come', () => {
  const rows = [row('a', null), row('b', null), row('a2', 'a'), row('a1', 'a'), row('b1', 'b'), row('a21', 'a2')];
  expect(nest(rows)).toEqual([node('a', node('a2', node('a21')), node('a1')), node('b', node('b1'))]);
});

test('a group whose parent is not told is on top', () => {
  expect(nest([row('x', 'unknown'), row('x1', 'x')])).toEqual([node('x', node('x1'))]);
  expect(nest([])).toEqual([]);
});
