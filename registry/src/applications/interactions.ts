import type { IncomingMessage, ServerResponse } from 'node:http';
import { uuidV7 } from '@millrace/core';
import type Provider from 'oidc-provider';
import type { InteractionResults } from 'oidc-provider';
import { type Actor, setActor } from '../audit/actor.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { logIn } from '../people/logins.ts';
import type { User } from '../people/users.ts';
import { grantedScopes } from './grants.ts';
import { consentPage, errorPage, loginPage, pageHeaders } from './pages.ts';
import { INTERACTION_PATH } from './provider.ts';
import { isScope, reachesIn } from './scopes.ts';

/** What a request under /oauth comes with. */
export interface Visit {
  readonly call: Call<unknown, unknown>;
  readonly plane: Plane;
  readonly actor: Actor;
  /** What went wrong inside, if anything did. */
  fault?: unknown;
}
type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;
interface Stage {
  readonly provider: Provider;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly visit: Visit;
  readonly interaction: Interaction;
  /** Where the forms of this interaction are sent. */
  readonly action: string;
}

const FORM_BYTES_MAX = 16 * 1024;

/** Whether a path is a page of ours. */
export const isInteraction = (url: string): boolean => url.startsWith(`${INTERACTION_PATH}/`);

/** The pages between an application's request and its answer: who are you, and do you agree.
 *  They belong to the browser that began: its cookie names the interaction, comes with no request from another site,
 *  and the library checks that it is this one. */
export async function answerInteraction(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
  visit: Visit,
): Promise<void> {
  const [, uid = '', step = ''] =
    /^\/oauth\/interaction\/([\w-]{1,64})(?:\/(\w+))?(?:\?.*)?$/.exec(request.url ?? '') ?? [];
  const prefix = new URL(provider.issuer).pathname.replace(/\/$/, '');
  let interaction: Interaction;
  try {
    interaction = await provider.interactionDetails(request, response);
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'SessionNotFound') throw error;
    return show(response, 400, errorPage('session_not_found', EXPIRED));
  }
  if (interaction.uid !== uid) return show(response, 400, errorPage('session_not_found', EXPIRED));
  const action = `${prefix}${INTERACTION_PATH}/${uid}`;
  const stage: Stage = { provider, request, response, visit, interaction, action };
  if (request.method === 'GET' && step === '') return showStage(stage, 200, null);
  if (request.method === 'GET' && step === 'outside') return finishOutside(stage);
  if (request.method !== 'POST') return show(response, 405, errorPage('invalid_request', 'Begin anew.'));
  if (isForeign(request, provider.issuer))
    return show(response, 403, errorPage('access_denied', 'This form was sent from another site.'));
  const form = await readForm(request);
  if (form === null) return show(response, 413, errorPage('invalid_request', 'The form is too large.'));
  if (step === 'abort') return finish(stage, { error: 'access_denied', error_description: 'The user refused.' });
  if (step === 'login' && interaction.prompt.name === 'login') return checkPassword(stage, form);
  if (step === 'consent' && interaction.prompt.name === 'consent') return agree(stage, form);
  return show(response, 400, errorPage('invalid_request', 'This step does not belong here. Begin anew.'));
}

const EXPIRED = 'This page has expired, or was opened in another browser. Go back to the application and begin anew.';

async function showStage(stage: Stage, status: number, problem: string | null, email = ''): Promise<void> {
  const { provider, response, interaction, visit, action } = stage;
  const { params, prompt } = interaction;
  const client = await provider.Client.find(String(params.client_id));
  if (client === undefined) return show(response, 400, errorPage('invalid_client', 'The application is gone.'));
  const app = client.clientName ?? client.clientId;
  const onward = String(params.redirect_uri);
  if (prompt.name === 'login') {
    const outside = visit.plane.registry.applications.outside.entrance(interaction.uid);
    const hint = typeof params.login_hint === 'string' ? params.login_hint.slice(0, 320) : '';
    return show(response, status, loginPage({ action, app, email: email || hint, problem, outside }), onward);
  }
  const { registry } = visit.plane;
  const user = await registry.users.get(interaction.session?.accountId ?? '');
  if (user === null) return show(response, 400, errorPage('access_denied', EXPIRED));
  const orgs = (await registry.users.memberships(user.id)).map(({ org, name }) => ({ id: org, name }));
  const { grantId } = interaction;
  const page = consentPage({
    action,
    app,
    maker: String(client.orgName),
    homepage: client.clientUri ?? null,
    email: user.email,
    scopes: requestedScopes(interaction),
    orgs,
    org: grantId === undefined ? null : await registry.applications.grants.placeOf(grantId),
    target: new URL(onward).host || onward.split(':')[0] || onward,
    problem,
  });
  return show(response, status, page, onward);
}

async function checkPassword(stage: Stage, form: URLSearchParams): Promise<void> {
  const { visit, response } = stage;
  const email = (form.get('email') ?? '').slice(0, 320);
  let user: User;
  try {
    user = await logIn(visit.plane, visit.call.peer, email, (form.get('password') ?? '').slice(0, 1_024));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const after = error.headers['retry-after'];
    if (after !== undefined) response.setHeader('retry-after', after);
    return showStage(stage, error.status, error.message, email);
  }
  return finish(stage, { login: loginOf(user, 'pwd') });
}

/** @shape epoch: ends the login with all sessions of the user (adapter.ts) */
const loginOf = ({ id, epoch }: User, how: string) => ({ accountId: id, amr: [how], epoch });

/** Somebody comes back who has logged in at the other provider. */
async function finishOutside(stage: Stage): Promise<void> {
  const { request, response, visit, interaction } = stage;
  const code = new URL(request.url ?? '', 'http://here').searchParams.get('code') ?? '';
  const user = await visit.plane.registry.applications.loginCodes.redeem(code, { interaction: interaction.uid });
  if (user === null || interaction.prompt.name !== 'login')
    return show(response, 400, errorPage('access_denied', EXPIRED));
  return finish(stage, { login: loginOf(user, 'ext') });
}

async function agree(stage: Stage, form: URLSearchParams): Promise<void> {
  const { provider, interaction, visit } = stage;
  const { registry } = visit.plane;
  const accountId = interaction.session?.accountId ?? '';
  const [user, memberships] = await Promise.all([registry.users.get(accountId), registry.users.memberships(accountId)]);
  if (user === null) return show(stage.response, 400, errorPage('access_denied', EXPIRED));
  const requested = requestedScopes(interaction);
  const chosen = new Set(form.getAll('scope'));
  const accepted = requested.filter((scope) => scope === 'openid' || chosen.has(scope));
  const rejected = requested.filter((scope) => !accepted.includes(scope));
  if (accepted.length === 0) return finish(stage, { error: 'access_denied', error_description: 'The user refused.' });
  const org = accepted.some(reachesIn) ? form.get('org') : null;
  if (accepted.some(reachesIn) && !memberships.some((membership) => membership.org === org))
    return showStage(stage, 400, 'Choose one of your organisations; without one the application can do nothing.');
  setActor({
    kind: 'user',
    id: user.id,
    name: user.email,
    via: null,
    address: visit.call.peer.remoteAddress,
    protocol: 'http',
  });

  const clientId = String(interaction.params.client_id);
  const before = interaction.grantId === undefined ? undefined : await provider.Grant.find(interaction.grantId);
  const place = before === undefined ? null : await registry.applications.grants.placeOf(before.jti);
  // Tokens that are out keep their organisation: for another one there is another grant.
  const same = before?.accountId === accountId && before.clientId === clientId && (place === null || place === org);
  const grant = same && before !== undefined ? before : new provider.Grant({ accountId, clientId });
  if (grant !== before) grant.jti = uuidV7();
  const kept = grantedScopes(grant);
  grant.openid = { ...grant.openid, scope: [...new Set([...kept, ...requested])].join(' ') };
  grant.rejected = (rejected.length === 0 ? {} : { openid: { scope: rejected.join(' ') } }) as never;
  const grantId = await grant.save();
  await registry.applications.grants.place(grantId, org ?? place);
  return finish(stage, { consent: { grantId } });
}

const finish = ({ provider, request, response }: Stage, result: InteractionResults): Promise<void> =>
  provider.interactionFinished(request, response, result, { mergeWithLastSubmission: !('error' in result) });

const requestedScopes = ({ params }: Interaction): string[] =>
  typeof params.scope === 'string' ? [...new Set(params.scope.split(' '))].filter(isScope) : [];

function show(response: ServerResponse, status: number, page: string, onward: string | null = null): void {
  response.writeHead(status, pageHeaders(onward));
  response.end(page);
}

/** A form that another site's page sent, as far as the browser tells. */
function isForeign({ headers }: IncomingMessage, issuer: string): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') return true;
  return headers.origin !== undefined && headers.origin !== new URL(issuer).origin;
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > FORM_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}
