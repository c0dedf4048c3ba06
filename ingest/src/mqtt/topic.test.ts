import { type DeliveredMessage, Protocol } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseFilter, parsePublishTopic } from './topic.ts';

const message = (fields: Partial<DeliveredMessage> = {}): DeliveredMessage => ({
  partition: 0,
  offset: 0,
  id: '',
  org: 'o1',
  channel: 'c1',
  subtopic: '',
  publisher: 't1',
  protocol: Protocol.http,
  contentType: '',
  receivedUs: 0,
  qos: 1,
  retain: false,
  payload: Buffer.alloc(0),
  encoded: new Map(),
  ...fields,
});

/** As the standard has it, level by level. @source MQTT 3.1.1 §4.7 */
function matches(filter: string, topic: string): boolean {
  const want = filter.split('/');
  const have = topic.split('/');
  for (const [index, level] of want.entries()) {
    if (level === '#') return true;
    if (index >= have.length || (level !== '+' && level !== have[index])) return false;
  }
  return want.length === have.length;
}

describe('a topic to publish to', () => {
  test.each([
    ['channels/c1/messages', { channel: 'c1', org: null, subtopic: '', contentType: '' }],
    ['channels/c1/messages/a/b', { channel: 'c1', subtopic: 'a/b', contentType: '' }],
    ['channels/c1/messages/senml-json', { channel: 'c1', subtopic: '', contentType: 'application/senml+json' }],
    ['channels/c1/messages/a/octet-stream', { subtopic: 'a', contentType: 'application/octet-stream' }],
    ['channels/c1/messages/a/ct/application_senml+cbor', { subtopic: 'a', contentType: 'application/senml+cbor' }],
    ['channels/c1/messages/ct/text_plain', { subtopic: '', contentType: 'text/plain' }],
    ['channels/c1/messages/ct/other', { subtopic: 'ct/other', contentType: '' }],
    ['m/o1/c/c1/a', { org: 'o1', channel: 'c1', subtopic: 'a' }],
    ['channel/c1/messages', { channel: 'c1', subtopic: '', contentType: 'application/senml+json' }],
    ['mainflux/channels/c1', { channel: 'c1', subtopic: '', contentType: 'application/senml+json' }],
    ['mainflux/channels/c1/octet-stream', { channel: 'c1', contentType: 'application/octet-stream' }],
  ])('%s is understood', (topic, expected) => {
    expect(parsePublishTopic(topic)).toMatchObject({ kind: 'channel', ...expected });
  });
  test.each([
    '',
    '/',
    'channels',
    'channels/c1',
    'channels//messages',
    '/channels/c1/messages',
    'channels/c1/messages/',
    'channels/c1/messages/a//b',
    'channels/c1/messages/+',
    'channels/c1/messages/a\u0000',
    'mainflux/channels/c1/a',
    `channels/c1/messages${'/a'.repeat(100)}`,
  ])('%j is malformed', (topic) => expect(parsePublishTopic(topic).kind).toBe('malformed'));
  test.each(['$SYS/broker/uptime', '$share/g/channels/c1/messages', '$'])('%s is reserved', (topic) =>
    expect(parsePublishTopic(topic).kind).toBe('reserved'),
  );
});

describe('a filter', () => {
  test.each([
    ['#', null, '#'],
    ['channels/#', null, '#'],
    ['channels/c1/#', 'c1', '#'],
    ['channels/c1/messages', 'c1', ''],
    ['channels/c1/messages/#', 'c1', '#'],
    ['channels/+/messages/temp', null, 'temp'],
    ['+/c1/messages/+/x', 'c1', '+/x'],
    ['m/o1/c/+/#', null, '#'],
    ['channel/c1/messages', 'c1', ''],
    ['mainflux/channels/+', null, ''],
  ])('%s is understood', (text, channel, subtopic) => {
    expect(parseFilter(text)).toMatchObject({ kind: 'channel', share: null, filter: { channel, subtopic } });
  });
  test('may name a content type, a group, an organisation', () => {
    expect(parseFilter('channels/c1/messages/a/senml-json')).toMatchObject({
      filter: { channel: 'c1', subtopic: 'a' },
      contentType: 'application/senml+json',
    });
    expect(parseFilter('$share/g/channels/c1/messages/#')).toMatchObject({ share: 'g', filter: { channel: 'c1' } });
    expect(parseFilter('m/o1/c/c1')).toMatchObject({ org: 'o1', filter: { channel: 'c1', subtopic: '' } });
  });
  test.each(['', 'a/#/b', 'a+/b', '#a', '$share/g', '$share//a', '$share/+/a', '+a'])('%j is malformed', (text) =>
    expect(parseFilter(text).kind).toBe('malformed'),
  );
  test.each(['foo/bar', 'channels/c1', '$foo/#', 'channels/c1/messages//x'])(
    '%j is for topics that there are not',
    (text) => expect(parseFilter(text).kind).toBe('unknown'),
  );
  test('of $SYS is told apart, and # is none', () => {
    expect(parseFilter('$SYS/#')).toMatchObject({ kind: 'sys' });
    expect(parseFilter('#').kind).toBe('channel');
  });
});

test('the topic that a subscriber gets matches its filter, whatever the filter', () => {
  const level = fc.constantFrom('a', 'b', '+', 'temp');
  const filters = fc.oneof(
    fc.tuple(fc.constantFrom('channels', '+'), fc.constantFrom('alias', '+'), fc.constantFrom('messages', '+')),
    fc.tuple(fc.constant('m'), fc.constantFrom('o1', '+'), fc.constantFrom('c', '+'), fc.constantFrom('c1', '+')),
    fc.tuple(fc.constant('channel'), fc.constantFrom('alias', '+'), fc.constant('messages')),
  );
  fc.assert(
    fc.property(
      filters,
      fc.array(level, { maxLength: 3 }),
      fc.boolean(),
      fc.array(fc.constantFrom('a', 'b', 'temp'), { maxLength: 4 }),
      (head, rest, open, subtopic) => {
        const text = [...head, ...rest, ...(open ? ['#'] : [])].join('/');
        const parsed = parseFilter(text);
        if (parsed.kind !== 'channel') throw new Error(`${text}: ${parsed.kind}`);
        const wanted = parsed.filter.subtopic;
        const told = subtopic.join('/');
        const wants = wanted === '#' || (wanted === '' ? told === '' : matches(wanted, told));
        if (wants && !(told === '' && wanted !== '#' && wanted !== '')) {
          expect(matches(text, parsed.topicOf(message({ subtopic: told })))).toBe(true);
        }
      },
    ),
  );
});

test('no text makes the parsers throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
      parsePublishTopic(text);
      parseFilter(text);
    }),
    { numRuns: 2_000 },
  );
});
