import { expect, test } from 'vitest';
import { coapPathOf, filterOf } from './path.ts';

const of = (path: string) => coapPathOf(path.split('/'));

test('names channel and subtopic in every dialect', () => {
  const messages = { kind: 'messages', org: null, channel: 'c', subtopic: '', senml: false };
  expect(of('channels/c/messages')).toEqual(messages);
  expect(of('channels/c/messages/')).toEqual(messages);
  expect(of('channels/c/messages/a/b')).toEqual({ ...messages, subtopic: 'a/b' });
  expect(of('http/channels/c/messages/a')).toEqual({ ...messages, subtopic: 'a' });
  expect(of('m/o/c/c/a')).toEqual({ ...messages, org: 'o', subtopic: 'a' });
  for (const path of ['channels/c/msg', 'channel/c/messages', 'mainflux/channels/c']) {
    expect(of(path), path).toEqual({ ...messages, senml: true });
  }
});

test('takes segments as they are: they are no URL', () => {
  expect(coapPathOf(['channels', 'c', 'messages', '100%', 'a b'])).toMatchObject({ subtopic: '100%/a b' });
  expect(coapPathOf(['channels', 'a/b', 'messages'])).toMatchObject({ kind: 'bad' });
});

test('tells what is no path of messages', () => {
  for (const path of ['', 'channels', 'channels/c', 'channels/c/messages2', 'channel/c/messages/x', 'api/v1/telemetry'])
    expect(of(path), path).toEqual({ kind: 'none' });
  expect(coapPathOf([])).toEqual({ kind: 'none' });
  expect(of('channels//messages')).toMatchObject({ kind: 'bad' });
  expect(of('.well-known/core')).toEqual({ kind: 'core' });
});

test('reads wildcards that were percent-encoded', () => {
  expect(filterOf('a/%2b/%23')).toBe('a/+/#');
  expect(filterOf('a/%41')).toBe('a/%41');
});
