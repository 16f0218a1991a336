// What a buyer does next, by reason: one line for each, in both languages. The contract's comments
// (proto/firstcome/error/v1/refusal.proto) say the same to developers.
import type { Language } from "./language";
import type { ReasonName, Refusal } from "./refusal";

/** What the page does by itself after a refusal. */
export type Step =
  /** Waits for the opening and asks again with the same key. */
  | "wait-for-opening"
  /** Watches the stock while units are held; one tap asks again. */
  | "watch-stock"
  /** Waits as long as was said, and asks again with the same key. */
  | "retry"
  /** Refreshes the tokens and asks again. */
  | "refresh"
  /** Sends the buyer to log in, and back. */
  | "log-in"
  /** Asks once more with a new key. */
  | "new-key"
  /** Shows what is true now; another purchase is another press, with a new key. */
  | "reload"
  /** Sends the buyer to enter the mailed code. */
  | "verify"
  /** Marks the fields. */
  | "mend-input"
  /** Hides what this shop does not have. */
  | "hide"
  /** Says so. */
  | "give-up";

interface Line {
  readonly step: Step;
  readonly en: string;
  readonly ko: string;
}

export const ADVICE: Readonly<Record<ReasonName, Line>> = {
  NOT_OPEN: {
    step: "wait-for-opening",
    en: "The drop has not opened yet. Stay here: we order for you the moment it opens.",
    ko: "아직 판매가 시작되지 않았습니다. 이 페이지에 계시면 시작되는 순간 자동으로 주문해 드립니다.",
  },
  CLOSED: {
    step: "give-up",
    en: "This drop is over, or none is planned yet.",
    ko: "판매가 종료되었거나 아직 예정된 판매가 없습니다.",
  },
  SOLD_OUT: {
    step: "watch-stock",
    en: "Every pair has been taken.",
    ko: "모두 판매되었습니다.",
  },
  LIMIT_PER_BUYER: {
    step: "give-up",
    en: "You hold or own as many as one buyer may have. See your orders.",
    ko: "1인당 구매 한도에 도달하셨습니다. 내 주문을 확인해 주세요.",
  },
  ORDER_EXPIRED: {
    step: "reload",
    en: "The time to pay ran out, and the pair went back on sale. You can try again.",
    ko: "결제 시간이 지나 상품이 다시 판매로 돌아갔습니다. 다시 시도하실 수 있습니다.",
  },
  WRONG_STATE: {
    step: "reload",
    en: "That is not possible any more. This is how things stand now.",
    ko: "지금은 처리할 수 없는 상태입니다. 현재 상태를 다시 보여 드립니다.",
  },
  OUT_OF_STOCK: {
    step: "reload",
    en: "The goods are gone. Nothing was charged.",
    ko: "재고가 모두 소진되었습니다. 결제된 금액은 없습니다.",
  },
  RETURN_WINDOW_OVER: {
    step: "give-up",
    en: "The time for returns is over.",
    ko: "반품 가능 기간이 지났습니다.",
  },
  CARD_DECLINED: {
    step: "reload",
    en: "The card was declined and the pair was let go. Place a new order and use another card.",
    ko: "카드가 승인되지 않아 상품이 판매로 돌아갔습니다. 다른 카드로 새로 주문해 주세요.",
  },
  INSUFFICIENT_FUNDS: {
    step: "reload",
    en: "The card lacks the funds and the pair was let go. Place a new order and use another card.",
    ko: "카드 한도가 부족하여 상품이 판매로 돌아갔습니다. 다른 카드로 새로 주문해 주세요.",
  },
  PAYMENT_IN_PROGRESS: {
    step: "retry",
    en: "A payment is under way. We ask again in a moment.",
    ko: "결제가 진행 중입니다. 잠시 후 다시 확인합니다.",
  },
  PLACEMENT_IN_PROGRESS: {
    step: "retry",
    en: "Your order is being placed. We ask again in a moment.",
    ko: "주문이 진행 중입니다. 잠시 후 다시 확인합니다.",
  },
  KEY_REUSED: {
    step: "new-key",
    en: "This order was begun with other contents. Please press again.",
    ko: "다른 내용으로 시작된 주문입니다. 다시 눌러 주세요.",
  },
  RATE_LIMITED: {
    step: "retry",
    en: "Too many tries in a short time. Please wait a moment.",
    ko: "짧은 시간에 요청이 너무 많았습니다. 잠시만 기다려 주세요.",
  },
  OVERLOADED: {
    step: "retry",
    en: "Very many people are here. We try again by ourselves.",
    ko: "접속이 많습니다. 자동으로 다시 시도합니다.",
  },
  FENCED: {
    step: "retry",
    en: "The stock is being counted anew. We try again by ourselves.",
    ko: "재고를 다시 확인하고 있습니다. 자동으로 다시 시도합니다.",
  },
  WATCHER_TOO_SLOW: {
    step: "retry",
    en: "The live view fell behind. It opens again by itself.",
    ko: "실시간 정보가 지연되었습니다. 자동으로 다시 연결합니다.",
  },
  TOKEN_INVALID: {
    step: "log-in",
    en: "Please log in.",
    ko: "로그인해 주세요.",
  },
  TOKEN_EXPIRED: {
    step: "refresh",
    en: "You were away for long. Please log in again.",
    ko: "로그인이 만료되었습니다. 다시 로그인해 주세요.",
  },
  TOKEN_REVOKED: {
    step: "log-in",
    en: "This session was ended. Please log in again.",
    ko: "로그아웃된 상태입니다. 다시 로그인해 주세요.",
  },
  BAD_CREDENTIALS: {
    step: "mend-input",
    en: "Email or password is wrong.",
    ko: "이메일 또는 비밀번호가 올바르지 않습니다.",
  },
  EMAIL_NOT_VERIFIED: {
    step: "verify",
    en: "Your email is not verified yet. Enter the code that we mailed.",
    ko: "이메일 인증이 필요합니다. 메일로 보내 드린 인증 번호를 입력해 주세요.",
  },
  NOT_FOUND: {
    step: "give-up",
    en: "There is no such thing here.",
    ko: "찾을 수 없습니다.",
  },
  PERMISSION_DENIED: {
    step: "give-up",
    en: "This account may not do that.",
    ko: "이 계정으로는 이용하실 수 없습니다.",
  },
  INVALID_ARGUMENT: {
    step: "mend-input",
    en: "Please check what you entered.",
    ko: "입력하신 내용을 확인해 주세요.",
  },
  NO_SUCH_METHOD: {
    step: "hide",
    en: "This shop does not offer that yet.",
    ko: "아직 제공되지 않는 기능입니다.",
  },
  NAME_TAKEN: {
    step: "mend-input",
    en: "This name is taken. Choose another.",
    ko: "이미 사용 중인 이름입니다. 다른 이름을 입력해 주세요.",
  },
  BELOW_COMMITTED: {
    step: "mend-input",
    en: "More than that is already held or sold.",
    ko: "이미 예약되었거나 판매된 수량보다 적습니다.",
  },
  UPSTREAM_UNAVAILABLE: {
    step: "retry",
    en: "A part of the shop cannot be reached. We try again by ourselves.",
    ko: "일시적으로 연결할 수 없습니다. 자동으로 다시 시도합니다.",
  },
  DEADLINE_EXCEEDED: {
    step: "retry",
    en: "The answer is late. We ask again; nothing is done twice.",
    ko: "응답이 늦어지고 있습니다. 다시 확인하며, 중복 처리되지 않습니다.",
  },
  INTERNAL: {
    step: "retry",
    en: "Something went wrong on our side. We ask again; nothing is done twice.",
    ko: "내부 오류가 발생했습니다. 다시 확인하며, 중복 처리되지 않습니다.",
  },
  CODE_INVALID: {
    step: "mend-input",
    en: "This code is wrong or no longer valid. Ask for a new one.",
    ko: "인증 번호가 올바르지 않거나 만료되었습니다. 새 번호를 요청해 주세요.",
  },
  SIGNATURE_INVALID: {
    step: "give-up",
    en: "The message is not signed as it should be.",
    ko: "서명이 올바르지 않습니다.",
  },
  BASKET_FULL: {
    step: "give-up",
    en: "The list is full. Remove something first.",
    ko: "목록이 가득 찼습니다. 먼저 일부를 삭제해 주세요.",
  },
  DEFAULT_ADDRESS: {
    step: "give-up",
    en: "This is your default address. Choose another default first.",
    ko: "기본 배송지입니다. 먼저 다른 배송지를 기본으로 지정해 주세요.",
  },
  ADDRESS_BOOK_FULL: {
    step: "give-up",
    en: "The address book is full. Delete an address first.",
    ko: "배송지 목록이 가득 찼습니다. 먼저 배송지를 삭제해 주세요.",
  },
  ACCOUNT_BANNED: {
    step: "give-up",
    en: "This account is shut. Please ask the shop.",
    ko: "이용이 정지된 계정입니다. 고객센터에 문의해 주세요.",
  },
  UNREACHABLE: {
    step: "retry",
    en: "No connection. We try again by ourselves; nothing is done twice.",
    ko: "연결이 끊겼습니다. 자동으로 다시 시도하며, 중복 처리되지 않습니다.",
  },
};

/** What the page does next. */
export function stepAfter(refusal: Refusal): Step {
  return ADVICE[refusal.reason].step;
}

/** What the buyer reads. */
export function adviceIn(language: Language, refusal: Refusal): string {
  return ADVICE[refusal.reason][language];
}
