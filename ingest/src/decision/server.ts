import {
  type AuditTrail,
  type ControlAction,
  type Credential,
  credentialOf,
  type DenyReason,
  EVERY_SUBTOPIC,
  type Gate,
  isUuid,
  type Logger,
  type Metrics,
  MillraceError,
  type Principal,
  type RequestContext,
} from '@millrace/core';
import { answerHead } from '../http/answer.ts';
import type { Exchange } from '../http/exchange.ts';
import type { NativeHandler } from '../http/native.ts';
import { refuseForNow } from '../http/refusals.ts';
import { auditRefusal } from '../refused-access.ts';
import { type Question, questionOf, questionOfRequest } from './question.ts';

/** Where a proxy asks before it passes a request on. */
export const DECISION_PATH = '/auth/decision';
const DECISION_MS_MAX = 10_000;
const AWAY = 'The registry does not answer: try again later.';

export interface DecisionServerOptions {
  readonly gate: Gate;
  /** Hears of denials. */
  readonly audit?: AuditTrail | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

type Answer =
  | {
      readonly kind: 'allow';
      readonly principal: Principal;
      readonly channel: string | null;
      readonly org: string | null;
    }
  /** Judged by who answers the request: a ticket is good once, and a preflight of CORS has nothing to judge. */
  | { readonly kind: 'later' }
  | { readonly kind: 'deny'; readonly status: 400 | 401 | 403; readonly detail: string };

/** Says whether a request that a proxy has in hand may pass: `auth_request` of nginx, `forwardAuth` of Traefik. Answers
 *  204 with who it is, 401 or 403: nginx knows no other word.
 *
 *  The question is `?action=&object=[&org=]`, else the request itself as `X-Original-Method` and `X-Original-URI`
 *  (nginx) or `X-Forwarded-Method` and `X-Forwarded-Uri` (Traefik) tell it. Who asks is told by the request's own
 *  `Authorization`, or by the certificate that a trusted proxy passes on. */
export function decisionServer(options: DecisionServerOptions): NativeHandler {
  const decisions = options.metrics.counter(
    'millrace_decisions_total',
    'Decisions that a proxy in front asked for, by outcome.',
    ['outcome'],
  );
  return {
    request(exchange) {
      if (exchange.head.path !== DECISION_PATH) return false;
      exchange.inTurn(async () => {
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<null>((resolve) => {
          timer = setTimeout(resolve, DECISION_MS_MAX, null);
        });
        try {
          const answer = await Promise.race([decide(options, exchange), late]);
          if (answer === null) exchange.refuse(503, 'registry_unreachable', AWAY);
          else say(exchange, answer);
          decisions.inc({
            outcome: answer === null ? 'unknown' : answer.kind === 'deny' ? String(answer.status) : 'allow',
          });
        } catch (error) {
          if (!(error instanceof MillraceError) || error.retry === 'never') throw error;
          options.logger.warn({ code: error.code }, 'a decision: the registry cannot be asked');
          decisions.inc({ outcome: 'unknown' });
          refuseForNow(exchange, error, AWAY);
        } finally {
          clearTimeout(timer);
        }
      });
      return true;
    },
    upgrade: () => false,
    drain: async () => {},
  };
}

function say(exchange: Exchange, answer: Answer): void {
  if (answer.kind === 'deny') {
    const reason = answer.status === 401 ? 'unauthenticated' : answer.status === 403 ? 'forbidden' : 'malformed';
    exchange.refuse(answer.status, reason, answer.detail);
    return;
  }
  let lines = `${exchange.lines}Cache-Control: no-store\r\n`;
  if (answer.kind === 'allow') {
    const { subject } = answer.principal;
    lines += `X-Millrace-Subject: ${subject.id}\r\nX-Millrace-Kind: ${subject.kind}\r\n`;
    if (answer.org !== null) lines += `X-Millrace-Org: ${answer.org}\r\n`;
    if (answer.channel !== null) lines += `X-Millrace-Channel: ${answer.channel}\r\n`;
  }
  exchange.answer(answerHead(204, 'No Content', lines));
}

async function decide({ gate, audit }: DecisionServerOptions, exchange: Exchange): Promise<Answer> {
  const { head, connection } = exchange;
  const uri = head.header('x-original-uri') ?? head.header('x-forwarded-uri');
  const method = (head.header('x-original-method') ?? head.header('x-forwarded-method') ?? 'GET').toUpperCase();
  const named = questionOf(new URLSearchParams(head.query));
  const onPath: Question = uri === undefined ? { kind: 'identity' } : questionOfRequest(method, uri);
  const asked = named ?? onPath;
  if (asked.kind === 'bad') return { kind: 'deny', status: 400, detail: asked.detail };
  // A browser asks first whether its page may ask, and shows nothing of its user: whoever answers the path answers that.
  if (method === 'OPTIONS' && named === null && asked.kind === 'message') return { kind: 'later' };

  const parameters = method === 'GET' && maySocket(onPath, uri) ? parametersOf(uri) : NONE;
  // Nobody but us knows what a ticket is good for.
  if (named === null && !head.header('authorization') && parameters.get('ticket')) return { kind: 'later' };
  const credential = shown(exchange, parameters);
  if (credential === null) return { kind: 'deny', status: 401, detail: 'Nothing says who asks.' };
  // The connection goes on to its next request: what is decided about stays.
  const mutualTls = credential.kind === 'certificate';
  const context: RequestContext = { ...connection.context, mutualTls, nowMs: Date.now() };
  const identified = await gate.identify(credential, context.remoteAddress);
  if (identified.kind === 'refused') {
    return identified.reason === 'unknown'
      ? { kind: 'deny', status: 401, detail: 'The key, token or certificate is unknown or has expired.' }
      : { kind: 'deny', status: 403, detail: 'The client is disabled.' };
  }
  const { principal } = identified;
  const own = principal.subject.kind === 'thing' ? principal.subject.org : (principal.scope?.org ?? null);
  const allow = (org: string | null, channel: string | null = null): Answer => ({
    kind: 'allow',
    principal,
    channel,
    org,
  });
  const deny = (detail: string): Answer => ({ kind: 'deny', status: 403, detail });

  if (asked.kind === 'identity') return allow(own);
  if (asked.kind === 'control') {
    const org = asked.org ?? own;
    if (org === null || !isUuid(org)) return { kind: 'deny', status: 400, detail: 'Say which organisation: org=<id>.' };
    const action = asked.action as ControlAction;
    if (await gate.allows(principal, org, asked.object, action, context)) return allow(org);
    audit?.denied({
      principal,
      org: own === org ? org : null,
      object: asked.object,
      action,
      reason: 'not_allowed',
      context,
    });
    return deny('The client may not do this.');
  }
  const { actions, channel, subtopic, org } = asked;
  let reason: DenyReason = 'not_allowed';
  for (const action of actions) {
    const admission = await gate.may(principal, action, channel, subtopic, context);
    if (admission.kind === 'allow' && (org === null || org === admission.channel.org)) {
      return allow(admission.channel.org, admission.channel.id);
    }
    reason = admission.kind === 'deny' ? admission.reason : 'no_such_channel';
  }
  const [action = 'subscribe'] = actions;
  const whole = subtopic === EVERY_SUBTOPIC ? '#' : subtopic;
  auditRefusal(audit, principal, action, { channel, subtopic: whole, org }, reason, context);
  return deny('The client may not do this here.');
}

/** What the original request shows. A browser's WebSocket can only show a ticket, or the classic parameter. */
function shown({ head, connection }: Exchange, parameters: URLSearchParams): Credential | null {
  const authorization = head.header('authorization');
  if (authorization !== undefined && authorization !== '') return credentialOf(authorization);
  const key = parameters.get('authorization');
  return key === null ? connection.certificate : credentialOf(key);
}

const NONE = new URLSearchParams();
const parametersOf = (uri = ''): URLSearchParams => new URLSearchParams(/\?(.*)$/s.exec(uri)?.[1] ?? '');
/** Whether a socket or an event stream of ours may be opened there. */
const maySocket = (asked: Question, uri = ''): boolean => asked.kind === 'message' || /^\/ws\/?(\?|$)/.test(uri);
