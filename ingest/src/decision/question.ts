import { EVERY_SUBTOPIC, type MessageAction } from '@millrace/core';
import { type Address, addressOf, isChannelReference, routeOf } from '../http/route.ts';
import { hasWildcard, socketPathOf, streamPathOf } from '../live/path.ts';

/** What is asked about a client. */
export type Question =
  /** Whether it is known. */
  | { readonly kind: 'identity' }
  /** Whether it may do one of these on a channel. */
  | {
      readonly kind: 'message';
      readonly actions: readonly MessageAction[];
      readonly channel: string;
      readonly subtopic: string;
      readonly org: string | null;
    }
  /** Whether it may do something on the control plane, or on what somebody guards by the same policies. */
  | { readonly kind: 'control'; readonly action: string; readonly object: string; readonly org: string | null }
  | { readonly kind: 'bad'; readonly detail: string };

const IDENTITY: Question = { kind: 'identity' };
const MESSAGES_OBJECT = /^channels\/([^/]+)\/messages(?:\/(.+))?$/;
const CHARACTERS_MAX = 1_024;
const CONTROL = /\p{Cc}/u;

/** What the parameters of the question say; null if they name nothing to decide. */
export function questionOf(parameters: URLSearchParams): Question | null {
  const [action, object] = [parameters.get('action'), parameters.get('object')];
  if (action === null && object === null) return null;
  if (action === null || object === null) return { kind: 'bad', detail: 'Give both action and object, or neither.' };
  if (CONTROL.test(object)) return { kind: 'bad', detail: 'An object has no control characters.' };
  if (action.length > CHARACTERS_MAX || object.length > CHARACTERS_MAX) {
    return { kind: 'bad', detail: `action and object have at most ${CHARACTERS_MAX} characters.` };
  }
  const org = parameters.get('org');
  if (action === 'publish' || action === 'subscribe') {
    const [, channel, subtopic = ''] = MESSAGES_OBJECT.exec(object) ?? [];
    if (channel === undefined || !isChannelReference(channel)) {
      return { kind: 'bad', detail: `The object of ${action} is channels/<id>/messages[/<subtopic>].` };
    }
    return { kind: 'message', actions: [action], channel, subtopic, org };
  }
  if (!/^[a-z0-9]+\.[a-z0-9_]+$/.test(action)) {
    return { kind: 'bad', detail: 'action is publish, subscribe or <entity>.<verb>, as things.read.' };
  }
  return { kind: 'control', action, object, org };
}

/** What a request to this server would need: a message's path its right on the channel, any other that its sender is
 *  known, since whoever answers it judges more. So with a malformed path: who answers it says what is wrong with it.
 *  @param uri path and query, as the client sent it */
export function questionOfRequest(method: string, uri: string): Question {
  if (!uri.startsWith('/')) return { kind: 'bad', detail: 'The original URI is a path, with its query if it has one.' };
  const mark = uri.indexOf('?');
  const path = mark < 0 ? uri : uri.slice(0, mark);
  const parameters = new URLSearchParams(mark < 0 ? '' : uri.slice(mark + 1));
  if (method === 'POST' || method === 'PUT') {
    const route = routeOf(path);
    if (route?.kind !== 'publish') return IDENTITY;
    return onChannel(['publish'], { ...route, kind: 'address' });
  }
  const stream = streamPathOf(path);
  if (stream?.kind === 'address') {
    return onChannel(['subscribe'], { ...stream, subtopic: everyIfMany(parameters.get('subtopic')) });
  }
  if (path.startsWith('/ws')) {
    const socket = socketPathOf(path);
    // A socket reads, or writes, or both: it is open to who may do one of them.
    return socket?.kind === 'channel' ? onChannel(['subscribe', 'publish'], socket.address) : IDENTITY;
  }
  const address = addressOf(path);
  if (address?.kind !== 'address') return IDENTITY;
  const subtopic = address.subtopic === '' ? everyIfMany(parameters.get('subtopic')) : address.subtopic;
  return onChannel(['subscribe'], { ...address, subtopic });
}

const everyIfMany = (subtopic: string | null): string =>
  subtopic === null || hasWildcard(subtopic) ? EVERY_SUBTOPIC : subtopic;

function onChannel(actions: readonly MessageAction[], { channel, subtopic, org }: Address): Question {
  return { kind: 'message', actions, channel, subtopic, org };
}
