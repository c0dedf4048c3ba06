import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { subtopicFault } from '../subtopic.ts';
import { filterFault, parseFilter, parsePublishTopic } from './topic.ts';

const channel = (found: ReturnType<typeof parsePublishTopic>): readonly (string | null)[] | string =>
  found.kind === 'channel' ? [found.org, found.channel, found.subtopic, found.contentType] : found.kind;

describe('a topic that is published to', () => {
  test.each([
    ['channels/c1/messages', null, 'c1', '', ''],
    ['channels/kitchen/messages/temp', null, 'kitchen', 'temp', ''],
    ['channels/c1/messages/a/b/c', null, 'c1', 'a/b/c', ''],
    ['channels/c1/messages/senml-json', null, 'c1', '', 'application/senml+json'],
    ['channels/c1/messages/a/senml-cbor', null, 'c1', 'a', 'application/senml+cbor'],
    ['channels/c1/messages/a/octet-stream', null, 'c1', 'a', 'application/octet-stream'],
    ['channels/c1/messages/a/ct/text_plain', null, 'c1', 'a', 'text/plain'],
    ['channels/c1/messages/ct/application_senml-json', null, 'c1', '', 'application/senml+json'],
    ['channels/c1/messages/ct/application_octet-stream', null, 'c1', '', 'application/octet-stream'],
    ['channels/c1/messages/ct/kitchen', null, 'c1', 'ct/kitchen', ''],
    ['m/o1/c/c1', 'o1', 'c1', '', ''],
    ['m/o1/c/c1/a/b', 'o1', 'c1', 'a/b', ''],
    ['m/o1/c/c1/a/senml-json', 'o1', 'c1', 'a', 'application/senml+json'],
    ['mainflux/channels/c1', null, 'c1', '', 'application/senml+json'],
    ['channel/c1/messages', null, 'c1', '', 'application/senml+json'],
    ['channel/c1/messages/octet-stream', null, 'c1', '', 'application/octet-stream'],
  ])('%s', (topic, ...wanted) => {
    expect(channel(parsePublishTopic(topic))).toEqual(wanted);
  });

  test.each([
    '',
    '/',
    'channels',
    'channels/c1',
    'channels/c1/msg',
    '/channels/c1/messages',
    'channels//messages',
    'channels/c1/messages/',
    'channels/c1/messages//a',
    'channels/c1/messages//senml-json',
    'channels/c1/messages/+',
    'channels/#',
    'channels/+/messages',
    'channels/c1/messages/a>b',
    'channels/c1/messages/a\0',
    'channels/c\n/messages',
    `channels/c1/messages/${'x'.repeat(257)}`,
    'm//c/c1',
    'm/o1/c/',
    'm/o1/d/c1',
    'channel/c1/messages/a',
    'mainflux/channels/c1/a',
    'somewhere/else',
  ])('%j is malformed', (topic) => {
    expect(parsePublishTopic(topic).kind).toBe('malformed');
  });

  test.each(['$SYS/broker/uptime', '$share/g/channels/c1/messages', '$', '$aws/things'])('%s is reserved', (topic) => {
    expect(parsePublishTopic(topic).kind).toBe('reserved');
  });
});

describe('a filter', () => {
  test.each([
    ['#', null, '#', 'channels/C/messages/s'],
    ['channels/#', null, '#', 'channels/C/messages/s'],
    ['channels/+/messages', null, '', 'channels/C/messages/s'],
    ['channels/+/messages/temp', null, 'temp', 'channels/C/messages/s'],
    ['+/kitchen/messages/#', 'kitchen', '#', 'channels/kitchen/messages/s'],
    ['channels/kitchen/#', 'kitchen', '#', 'channels/kitchen/messages/s'],
    ['channels/kitchen/messages/+/b', 'kitchen', '+/b', 'channels/kitchen/messages/s'],
    ['m/o1/c/+/#', null, '#', 'm/o1/c/C/s'],
    ['m/+/c/c1', 'c1', '', 'm/O/c/c1/s'],
    ['m/#', null, '#', 'm/O/c/C/s'],
    ['mainflux/channels/+', null, '', 'mainflux/channels/C/s'],
    ['mainflux/#', null, '', 'mainflux/channels/C/s'],
    ['channel/c1/messages', 'c1', '', 'channel/c1/messages/s'],
    ['channels/c1/messages/+/senml-json', 'c1', '+', 'channels/c1/messages/s/senml-json'],
    ['$share/g/channels/c1/messages/#', 'c1', '#', 'channels/c1/messages/s'],
  ])('%s', (text, wanted, subtopic, topic) => {
    const parsed = parseFilter(text);
    if (parsed.kind !== 'channel') throw new Error(parsed.kind);
    expect(parsed.filter).toEqual({ channel: wanted, subtopic });
    expect(parsed.topicOf({ org: 'O', channel: 'C', subtopic: 's' })).toBe(topic);
    expect(parsed.share).toBe(text.startsWith('$share') ? 'g' : null);
  });

  test('restricts to an organisation and a content type that it names', () => {
    expect(parseFilter('m/o1/c/c1/#')).toMatchObject({ org: 'o1', contentType: null });
    expect(parseFilter('channels/c1/messages/senml-json')).toMatchObject({ contentType: 'application/senml+json' });
  });

  test('of the broker itself is told apart', () => {
    expect(parseFilter('$SYS/#')).toEqual({ kind: 'sys', filter: '$SYS/#' });
  });

  test.each(['$share/g/$SYS/#', '$other/#', 'a/b', '+', '+/+', 'channels//messages', 'channels/c1/messages//a'])(
    '%s matches nothing of ours, though it is a filter',
    (text) => {
      expect(filterFault(text)).toBeNull();
      expect(parseFilter(text).kind).toBe('malformed');
    },
  );

  test.each(['', '#/a', 'a#', 'a/b+', 'a/+b/c', 'a\0', '$share/g', '$share/g/', '$share//a', '$share/+/a'])(
    '%j is none',
    (text) => {
      expect(filterFault(text)).not.toBeNull();
      expect(parseFilter(text).kind).toBe('malformed');
    },
  );
});

/** MQTT's own rule, written down once more. @source MQTT 3.1.1 §4.7 */
function matches(filter: string, topic: string): boolean {
  const [wanted, given] = [filter.split('/'), topic.split('/')];
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return true;
    if (index >= given.length || (want !== '+' && want !== given[index])) return false;
  }
  return wanted.length === given.length;
}

const word = fc.constantFrom('a', 'b', 'temp', 'ct', 'text_plain', 'senml-json', 'messages', 'channels', 'm', 'c');
const subtopics = fc.array(word, { maxLength: 4 }).map((segments) => segments.join('/'));
const segment = fc.oneof(word, fc.constantFrom('+', '#', 'mainflux', 'channel', '', 'c1'));
const heads = fc.constantFrom('', 'channels/+/messages/', 'channels/c1/messages/', 'm/+/c/+/', '$share/g/', '+/+/');
const filters = fc
  .tuple(heads, fc.array(segment, { maxLength: 6 }))
  .map(([head, segments]) => head + segments.join('/'));

test('nothing that is sent as a topic or filter makes the parsers throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), filters), (text) => {
      parsePublishTopic(text);
      parseFilter(text);
    }),
    { numRuns: 2_000 },
  );
});

test('the subtopic of a topic that is taken is one that may be published to', () => {
  fc.assert(
    fc.property(fc.oneof(filters, fc.string()), (text) => {
      const parsed = parsePublishTopic(text);
      fc.pre(parsed.kind === 'channel');
      expect(subtopicFault(parsed.subtopic)).toBeNull();
      expect(parsed.channel).not.toMatch(/^$|[+#/]/);
    }),
    { numRuns: 2_000 },
  );
});

test('the topic of what a filter gives matches the filter', () => {
  fc.assert(
    fc.property(filters, subtopics, (text, subtopic) => {
      const parsed = parseFilter(text);
      fc.pre(parsed.kind === 'channel');
      const wanted = parsed.filter.subtopic;
      fc.pre(wanted === '#' || wanted === subtopic || (subtopic !== '' && matches(wanted, subtopic)));
      const message = { org: parsed.org ?? 'O', channel: parsed.filter.channel ?? 'C', subtopic };
      const topic = parsed.topicOf(message);
      const bare = parsed.share === null ? text : text.slice(text.indexOf('/', 7) + 1);
      expect(matches(bare, topic), `${text} gives ${topic}`).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
