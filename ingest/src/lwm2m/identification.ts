import type { Gate, Lwm2mAccount, Lwm2mDirectory } from '@millrace/core';
import { diagnosis, disabled, unauthenticated } from '../coap/answers.ts';
import { CoapClient, shownCredential } from '../coap/client.ts';
import type { CoapRequest, CoapResponse } from '../coap/contract.ts';
import { Code } from '../coap/message/message.ts';

export type Identification =
  | { readonly kind: 'known'; readonly account: Lwm2mAccount; readonly client: CoapClient }
  | { readonly kind: 'refused'; readonly response: CoapResponse };

const refused = (response: CoapResponse): Identification => ({ kind: 'refused', response });
/** The same whether there is such an endpoint or not. */
const FORBIDDEN = diagnosis(Code.Forbidden, 'This endpoint is not the one of the thing that asks.');
const CREDENTIAL_NEEDED = diagnosis(Code.Forbidden, 'Come by CoAPS as the thing, or give ?auth=<its key>.');

/** Who may speak for an endpoint: the thing that its session or key proves; over plain CoAP and without a key anybody who
 *  knows the name, where its account says so.
 *  @param endpoint null: that of whoever asks
 *  @throws MillraceError (retry later) */
export async function identify(
  request: CoapRequest,
  endpoint: string | null,
  { gate, directory }: { readonly gate: Gate; readonly directory: Lwm2mDirectory },
): Promise<Identification> {
  const { peer } = request;
  const credential = shownCredential(request);
  if (credential !== null) {
    const client = await CoapClient.identify(gate, credential, peer);
    if (client === 'disabled') return refused(disabled.response);
    if (client === 'unknown') return refused(unauthenticated.response);
    const { subject } = client.principal;
    if (subject.kind !== 'thing') return refused(FORBIDDEN);
    const account = await (endpoint === null
      ? directory.accountOf(subject.id)
      : directory.account(endpoint, subject.id));
    return account?.thing === subject.id ? { kind: 'known', account, client } : refused(FORBIDDEN);
  }
  // Who has a bootstrap key is nobody here.
  if (peer.identity !== null || endpoint === null) return refused(CREDENTIAL_NEEDED);
  const account = await directory.account(endpoint);
  if (account?.security !== 'none') return refused(CREDENTIAL_NEEDED);
  const client = await CoapClient.identify(gate, { kind: 'subject', id: account.thing }, peer);
  if (typeof client === 'string') return refused(disabled.response);
  return { kind: 'known', account, client };
}
