import type { Publisher } from '../millrace.ts';
import type { RawAsked, RawDevice } from './raw-device.ts';
import { ACK, block, CON, empty, encode, NON, OPTION, RST, uint } from './raw-message.ts';

/** Conversations by CoAP that a node would answer, datagram by datagram: publishes, blocks both ways, observations,
 *  queries, LwM2M's registration, and what belongs to none of them.
 *  @param location of the device's registration */
export function coapConversations(
  { thing, channel, key }: Publisher,
  device: RawDevice,
  location: string,
): readonly Buffer[] {
  const messages = `channels/${channel}/messages`;
  const auth = `auth=${key}`;
  const part = Buffer.alloc(64, 'b');
  const said = (code: number, type: number): Buffer =>
    encode({
      type,
      code,
      messageId: 7,
      token: Buffer.from([9]),
      options: [
        [OPTION.ETag, Buffer.alloc(8, 1)],
        [OPTION.Observe, uint(70_000)],
        [OPTION.Block2, block(1, true, 2)],
      ],
      payload: part,
    });
  const asked: RawAsked[] = [
    { uri: `${messages}?${auth}`, format: 110, payload: '[{"n":"t","u":"Cel","v":1},{"n":"s","vs":"x"}]' },
    { uri: `${messages}/a/b?${auth}`, format: 50, payload: '{"a":{"b":[1,true,"x"]}}', type: NON },
    { uri: `${messages}?${auth}`, format: 112, payload: Buffer.from([0x81, 0xa2, 0x00, 0x61, 0x61, 0x02, 0x01]) },
    { uri: `${messages}?${auth}`, format: 60, payload: Buffer.from([0xa1, 0x61, 0x61, 0x02]), method: 'PUT' },
    { uri: `${messages}?${auth}`, format: 42, payload: part, options: [[OPTION.NoResponse, uint(26)]] },
    { uri: `http/channels/${channel}/messages?authorization=${key}`, payload: 'blob' },
    { uri: `channels/${channel}/msg?${auth}`, payload: '[{"n":"t","v":1}]' },
    { uri: `m/org/c/${channel}/x?${auth}`, payload: 'x' },
    { uri: `${messages}/up?${auth}`, payload: part, options: [[OPTION.Block1, block(0, true, 2)]] },
    { uri: `${messages}/up?${auth}`, payload: part, options: [[OPTION.Block1, block(1, true, 2)]] },
    {
      uri: `${messages}/up?${auth}`,
      payload: 'end',
      options: [
        [OPTION.Block1, block(2, false, 2)],
        [OPTION.Size1, uint(131)],
        [OPTION.RequestTag, Buffer.from('t')],
      ],
    },
    { uri: `${messages}/up?${auth}`, payload: part, options: [[OPTION.Block1, block(0xf_ff_ff, true, 6)]] },
    { uri: `${messages}?${auth}`, method: 'GET' },
    { uri: `${messages}?${auth}`, method: 'GET', observe: 0 },
    { uri: `${messages}/+/x/#?${auth}`, method: 'GET', observe: 0 },
    { uri: `${messages}?${auth}`, method: 'GET', observe: 1 },
    { uri: `${messages}?${auth}`, method: 'GET', options: [[OPTION.Block2, block(0, false, 1)]] },
    { uri: `${messages}?${auth}`, method: 'GET', options: [[OPTION.Block2, block(3, false, 1)]] },
    { uri: `${messages}?${auth}`, method: 'FETCH', format: 50, payload: '{"name":"t","limit":10,"order":"name"}' },
    {
      uri: `${messages}?${auth}`,
      method: 'FETCH',
      format: 60,
      payload: Buffer.from([0xa1, 0x65, ...Buffer.from('limit'), 0x01]),
      options: [[OPTION.Accept, uint(112)]],
    },
    { uri: `${messages}?auth=nobody`, payload: 'x' },
    { uri: `${messages}?${auth}`, method: 'DELETE' },
    { uri: '.well-known/core?rt=core.rd', method: 'GET' },
    registration({ thing, key }),
    { uri: `rd/${location}?lt=100&${auth}`, payload: '</3/0>', format: 40 },
    { uri: `rd/${location}?${auth}`, method: 'DELETE' },
    { uri: 'rd/abcdef', method: 'DELETE' },
    { uri: `dp?${auth}`, format: 110, payload: '[{"bn":"/3303/0/","n":"5700","v":21.5}]' },
    { uri: 'bs?ep=hostile&pct=60' },
  ];
  return [
    ...asked.map((each) => device.request(each)),
    empty(CON, 1),
    empty(RST, 2),
    empty(ACK, 3),
    said(0x45, CON),
    said(0x45, NON),
    said(0x44, ACK),
    said(0x81, ACK),
  ];
}

/** By LwM2M, under the thing's own id. */
export const registration = ({ thing, key }: Pick<Publisher, 'thing' | 'key'>): RawAsked => ({
  uri: `rd?ep=${thing}&lt=60&lwm2m=1.1&b=U&auth=${key}`,
  format: 40,
  payload: '</3/0>,</3303/0>;ver=1.1,</1/0>',
});

/** What breaks parsers when it stands where something else did. */
export const COAP_TOKENS: readonly Buffer[] = [
  [0xff],
  [0xff, 0xff],
  [0x00],
  [0x60, 0x00],
  [0xd0, 0xff],
  [0xe0, 0xff, 0xff],
  [0x0d, 0xff],
  [0x0e, 0xff, 0xff],
  [0xdd, 0x00, 0x00],
  [0xee, 0xff, 0xff, 0xff, 0xff],
  [0xf0],
  [0x0f],
  [0xb1, 0x2f],
  [0xb0],
  [0xc4, 0xff, 0xff, 0xff, 0xff],
  [0xd1, 0x0a, 0x0f],
  [0xd3, 0x0a, 0xff, 0xff, 0xff],
  [0xd1, 0x0e, 0xff],
  [0x4f, 0x01, 0x00, 0x01],
  [0x48, 0x02, 0x00, 0x01],
  [0x80, 0x01, 0x00, 0x01],
].map((bytes) => Buffer.from(bytes));
