// The page's frame: head, navigation, the page of this address, live regions.
import { render } from "preact";
import { useEffect } from "preact/hooks";

import { polite, urgent } from "./announce";
import { mine, session } from "./api";
import { type Language, language, LANGUAGES, switchTo } from "./language";
import { Lazily } from "./lazily";
import { Account } from "./pages/account";
import { AddressBook } from "./pages/addresses";
import { Cart } from "./pages/cart";
import { Home } from "./pages/home";
import { Me } from "./pages/me";
import { OrderPage } from "./pages/order";
import { ProductPage } from "./pages/product";
import { ProfilePage } from "./pages/profile";
import { Security } from "./pages/security";
import { haveNavigated, Page } from "./parts";
import { follow, go, place } from "./route";
import { useStore } from "./store";
import "./style.css";
import { useTexts } from "./texts";

function Shop() {
  const texts = useTexts();
  const spoken = useStore(language);
  const where = useStore(place);
  useEffect(() => {
    document.documentElement.lang = spoken;
  }, [spoken]);
  return (
    <>
      <a class="skip" href="#content">{texts.skip}</a>
      <Head />
      <Here key={where} path={where.split("?")[0] ?? "/"} />
      <footer><p>{texts.footer}</p></footer>
      <Heard />
    </>
  );
}

function Head() {
  const texts = useTexts();
  const user = useStore(session.user);
  return (
    <header>
      <a class="brand" href="/">firstcome</a>
      <nav aria-label={texts.menu}>
        <Link to="/">{texts.home}</Link>
        {user === undefined ? (
          <>
            <Link to="/log-in">{texts.logIn}</Link>
            <Link to="/sign-up">{texts.signUp}</Link>
          </>
        ) : (
          <>
            <Link to="/cart">{texts.own.cart}</Link>
            <Link to="/me">{texts.me}</Link>
            <button type="button" class="plain" onClick={logOut}>{texts.logOut}</button>
          </>
        )}
      </nav>
      <Languages />
    </header>
  );
}

function Link(props: { to: string; children: string }) {
  const here = useStore(place).split("?")[0] === props.to;
  return <a href={props.to} aria-current={here ? "page" : undefined}>{props.children}</a>;
}

function Languages() {
  const texts = useTexts();
  const spoken = useStore(language);
  return (
    <div class="languages" role="group" aria-label={texts.languages}>
      {(Object.keys(LANGUAGES) as Language[]).map((tag) => (
        <button type="button" lang={tag} aria-pressed={tag === spoken} onClick={() => switchTo(tag)}>
          {LANGUAGES[tag]}
        </button>
      ))}
    </div>
  );
}

function Here(props: { path: string }) {
  const [, noun, id] = props.path.split("/");
  // Another user's pages begin anew: nothing that was read for the one before stays on them.
  const user = useStore(session.user);
  switch (noun) {
    case "":
      return <Home />;
    case "products":
      return id ? <ProductPage id={id} /> : <Nowhere />;
    case "orders":
      return id ? <OrderPage key={user} id={id} /> : <Nowhere />;
    case "cart":
      return <Cart key={user} />;
    case "me":
      return <Me key={user} />;
    case "profile":
      return <ProfilePage key={user} />;
    case "addresses":
      return <AddressBook key={user} />;
    case "security":
      return <Security key={user} />;
    case "rush":
      return <Lazily load={rushPage} with={{ productId: id }} />;
    case "log-in":
    case "sign-up":
    case "verify":
    case "forgot":
      return <Account which={noun} />;
    default:
      return <Nowhere />;
  }
}

const rushPage = () => import("./pages/rush").then(({ RushPage }) => RushPage);

function Nowhere() {
  const texts = useTexts();
  return (
    <Page title={texts.notFoundTitle}>
      <p>{texts.notFound}</p>
      <p><a href="/">{texts.backHome}</a></p>
    </Page>
  );
}

/** The two live regions. They stand there from the beginning: one that appears is not heard. */
function Heard() {
  return (
    <>
      <div class="heard" role="status" aria-live="polite">{useStore(polite)}</div>
      <div class="heard" role="alert" aria-live="assertive">{useStore(urgent)}</div>
    </>
  );
}

/** Who logs out does not wait longer than this for a shop that is silent. */
const LOG_OUT_MAX_MS = 3_000;

async function logOut() {
  // The session ends here whatever the shop says; there it ends by itself one day.
  await mine.account.logOut({}, { timeoutMs: LOG_OUT_MAX_MS }).catch(() => undefined);
  session.end();
  go("/");
}

follow();
place.subscribe(haveNavigated);
const shop = document.getElementById("shop");
if (shop !== null) render(<Shop />, shop);
