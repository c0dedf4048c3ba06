import type { Route } from './route.ts';

/** Where the rule gives no good name. */
const NAMES: Readonly<Record<string, string>> = {
  'post /tokens': 'logIn',
  'post /tokens/refresh': 'refreshTokens',
  'post /tokens/code': 'redeemLoginCode',
  'post /password/reset-request': 'requestPasswordReset',
  'put /password/reset': 'resetPasswordClassic',
  'patch /password': 'changePasswordClassic',
  'get /users/profile': 'getMeClassic',
  'put /users': 'updateMeClassic',
  'get /users/me': 'getMe',
  'patch /users/me': 'updateMe',
  'delete /users/me': 'deleteMe',
  'put /users/me/password': 'changePassword',
  'post /users/me/logout': 'logOutEverywhere',
  'post /users/me/verify-request': 'requestVerification',
  'post /users/me/email': 'changeEmail',
  'post /users/verify': 'verifyEmail',
  'get /users/me/grants': 'listMyGrants',
  'delete /users/me/grants/{id}': 'deleteMyGrant',
  'post /invitations/accept': 'acceptInvitationByToken',
  'post /invitations/decline': 'declineInvitationByToken',
  'post /tickets': 'createTicket',
  'post /things/token': 'createThingToken',
  'post /things/{id}/key': 'rotateThingKey',
  'patch /things/{id}/key': 'rotateThingKeyClassic',
  'delete /things/{id}/key/previous': 'endPreviousThingKey',
  'post /things/search': 'searchThings',
  'get /things/{id}/certificates': 'getThingTrust',
  'put /things/{id}/certificates': 'replaceThingTrust',
  'put /disconnect': 'disconnectClassic',
  'get /connections': 'listConnections',
  'post /identify/channels/{id}/access-by-key': 'checkAccessByKey',
  'post /identify/channels/{id}/access-by-id': 'checkAccessById',
  'get /groups/tree': 'getGroupForest',
  'get /groups/{id}/parents': 'listGroupParents',
  'get /groups/{id}/children': 'listGroupChildren',
  'post /groups/{id}/members': 'addGroupMembers',
  'delete /groups/{id}/members': 'removeGroupMembers',
  'get /groups/{id}/members': 'listGroupMembers',
  'get /members/{id}/groups': 'listGroupsOfMember',
  'get /certs/ca': 'getOwnCa',
  'get /certs/ca/{id}': 'getCa',
  'get /certs/crl': 'getOwnCrl',
  'get /certs/crl/{id}': 'getCrl',
  'post /certs/ocsp': 'askOcsp',
  'get /certs/ocsp/{request}': 'askOcspByUrl',
  'post /certs/authorities/code': 'createRegistrationCode',
  'post /certs/csr': 'createCertFromCsr',
  'delete /certs/{serial}': 'revokeCertClassic',
  'get /serials/{thing}': 'listThingSerials',
  'post /apps/{id}/secret': 'rotateAppSecret',
  'get /oauth/scopes': 'listScopes',
  'get /oauth/authorize': 'authorize',
  'post /oauth/authorize': 'authorizeByForm',
  'post /oauth/token': 'getOauthTokens',
  'post /oauth/introspect': 'introspectToken',
  'post /oauth/revoke': 'revokeOauthToken',
  'get /oauth/userinfo': 'getUserinfo',
  'post /oauth/userinfo': 'getUserinfoByForm',
  'get /oauth/logout': 'logOutOfProvider',
  'post /oauth/logout': 'logOutOfProviderByForm',
  'get /.well-known/openid-configuration': 'getOpenidConfiguration',
  'get /.well-known/oauth-authorization-server': 'getOauthMetadata',
  'get /.well-known/jwks.json': 'getJwks',
  'get /login/providers': 'listLoginProviders',
  'get /login/oidc': 'beginOutsideLogin',
  'get /login/oidc/callback': 'endOutsideLogin',
  'get /audit': 'listAudit',
  'get /audit/export': 'exportAudit',
  'get /jobs/{id}/results': 'listJobResults',
  'put /things/{id}/lwm2m': 'replaceLwm2mAccount',
  'get /things/{id}/lwm2m': 'getLwm2mAccount',
  'delete /things/{id}/lwm2m': 'deleteLwm2mAccount',
  'get /things/{id}/lwm2m/registration': 'getLwm2mRegistration',
  'get /lwm2m/registrations': 'listLwm2mRegistrations',
  'post /things/{id}/lwm2m/read': 'readLwm2m',
  'post /things/{id}/lwm2m/write': 'writeLwm2m',
  'post /things/{id}/lwm2m/execute': 'executeLwm2m',
  'post /things/{id}/lwm2m/observe': 'observeLwm2m',
  'post /things/{id}/lwm2m/cancel': 'cancelLwm2m',
  'post /things/{id}/lwm2m/create': 'createLwm2mInstance',
  'post /things/{id}/lwm2m/delete': 'deleteLwm2mInstance',
  'post /things/{id}/lwm2m/discover': 'discoverLwm2m',
  'get /channels/{id}/messages': 'listMessages',
  'get /channels/{id}/payloads': 'listPayloads',
  'get /dead-letters': 'listDeadLetters',
  'post /dead-letters/replay': 'replayDeadLetters',
  'post /dead-letters/discard': 'discardDeadLetters',
  'get /openapi.json': 'getOpenapi',
  'post /channels/{id}/messages': 'publish',
  'post /channels/{id}/messages/{subtopic}': 'publishToSubtopic',
  'post /channels/{id}/messages/batch': 'publishBatch',
  'post /lora/chirpstack': 'takeChirpstackEvent',
  'post /lora/tts/{event}': 'takeTheThingsStackEvent',
};
const ONE: Readonly<Record<string, string>> = { get: 'get', put: 'replace', patch: 'update', delete: 'delete' };
const LINK: Readonly<Record<string, string>> = { get: 'get', put: 'put', patch: 'update', delete: 'remove' };

/** Names of operations for generated clients, as `listThings`: by method and path alone, so that a name stays when its
 *  route moves elsewhere.
 *  @param paths all of them: what is followed by a parameter somewhere is a collection */
export function operationIds(
  paths: readonly string[],
): (method: Route['specification']['method'], path: string) => string {
  const collections = new Set(paths.flatMap((path) => [...path.matchAll(/([^/{}]+)\/\{/g)].map((match) => match[1])));
  return (method, path) => NAMES[`${method} ${path}`] ?? ruled(method, path, collections);
}

function ruled(method: string, path: string, collections: ReadonlySet<string | undefined>): string {
  const parts = path.split('/').filter((part) => part !== '');
  const last = parts.at(-1) ?? '';
  const ofOne = isParameter(last);
  /** What the path speaks of: one of each, but the last as it is written unless it is of one. */
  const nouns = (of: readonly string[], lastOfOne: boolean): string =>
    of
      .filter((part) => !isParameter(part))
      .map((part, index, all) =>
        capital(collections.has(part) && (lastOfOne || index < all.length - 1) ? singular(part) : part),
      )
      .join('');
  if (ofOne) return `${(parts.filter(isParameter).length > 1 ? LINK : ONE)[method] ?? method}${nouns(parts, true)}`;
  const isCollection = collections.has(last);
  if (method === 'get') return `${isCollection ? 'list' : 'get'}${nouns(parts, false)}`;
  if (method !== 'post') return `${ONE[method] ?? method}${nouns(parts, false)}`;
  if (isCollection) return `create${nouns(parts, true)}`;
  const before = parts.slice(0, -1);
  return last === 'bulk' ? `create${nouns(before, false)}` : `${camel(last)}${nouns(before, true)}`;
}

const isParameter = (part: string): boolean => part.startsWith('{');
const singular = (word: string): string => word.replace(/ies$/, 'y').replace(/s$/, '');
const camel = (word: string): string =>
  word.replace(/^\W+/, '').replaceAll(/[^A-Za-z0-9]+(.)/g, (_, letter: string) => letter.toUpperCase());
const capital = (word: string): string => camel(word).replace(/^./, (letter) => letter.toUpperCase());
