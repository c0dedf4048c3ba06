/** @source RFC 5246 §7.2, RFC 4279 §2 */
export const Alert = {
  closeNotify: 0,
  unexpectedMessage: 10,
  badRecordMac: 20,
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateExpired: 45,
  certificateUnknown: 46,
  illegalParameter: 47,
  accessDenied: 49,
  decodeError: 50,
  decryptError: 51,
  protocolVersion: 70,
  internalError: 80,
  noRenegotiation: 100,
} as const;
export type Alert = (typeof Alert)[keyof typeof Alert];

const WARNING = 1;
const FATAL = 2;

export const alertBody = (alert: Alert): Buffer =>
  Buffer.from([alert === Alert.closeNotify || alert === Alert.noRenegotiation ? WARNING : FATAL, alert]);

/** Ends the connection: said to be fatal, or the goodbye. */
export const isFinal = (body: Buffer): boolean =>
  body.length === 2 && (body[0] === FATAL || body[1] === Alert.closeNotify);
