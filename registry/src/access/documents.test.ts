import { expect, test } from 'vitest';
import { resourceProblem } from './documents.ts';

test('a variable reaches over no segment: else one that stands for a channel would seem to be one of its messages', () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: variables of policies
  expect(resourceProblem('channels/${thing.metadata.room}/messages*')).toBeNull();
  for (const name of ['a/messages', 'a*', '*'])
    expect(resourceProblem(`channels/\${thing.metadata.${name}}`)).toMatch(/variables are/);
});
