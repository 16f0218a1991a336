//! ProfileService: what a user tells of itself.

use firstcome_mesh::{Identity, identity::client_address};
use firstcome_proto::{
    Refusal, timestamp,
    user_v1::{
        self, CreateAddressRequest, CreateAddressResponse, DeleteAccountRequest,
        DeleteAccountResponse, DeleteAddressRequest, DeleteAddressResponse, GetProfileRequest,
        GetProfileResponse, ListAddressesRequest, ListAddressesResponse, SetDefaultAddressRequest,
        SetDefaultAddressResponse, UpdateAddressRequest, UpdateAddressResponse,
        UpdateProfileRequest, UpdateProfileResponse, UserState,
        profile_service_server::ProfileService,
    },
};
use tonic::{Request, Response, Status};

use super::Faults;
use crate::{
    account::{Greeting, ImageUrl, Name, Password, Phone},
    address_book::AddressBook,
    language::Language,
    profile::{Profile, Profiles, Update},
};

/// The service over profiles and address books.
pub struct Service {
    /// Profiles.
    pub profiles: Profiles,
    /// Address books.
    pub addresses: AddressBook,
}

#[tonic::async_trait]
impl ProfileService for Service {
    async fn get_profile(
        &self,
        request: Request<GetProfileRequest>,
    ) -> Result<Response<GetProfileResponse>, Status> {
        let caller = Identity::of(&request)?;
        let profile = Some(self.profiles.get(caller.user).await?.into());
        Ok(Response::new(GetProfileResponse { profile }))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let caller = Identity::of(&request)?;
        let update = Update::try_from(request.into_inner())?;
        let profile = Some(self.profiles.update(caller.user, &update).await?.into());
        Ok(Response::new(UpdateProfileResponse { profile }))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let (caller, from) = (Identity::of(&request)?, client_address(request.metadata()));
        let password = Password::attempt("password", request.into_inner().password.into())?;
        self.profiles.delete(caller.user, &password, from).await?;
        Ok(Response::new(DeleteAccountResponse {}))
    }

    async fn create_address(
        &self,
        request: Request<CreateAddressRequest>,
    ) -> Result<Response<CreateAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.create(caller.user, request.into_inner()).await?))
    }

    async fn list_addresses(
        &self,
        request: Request<ListAddressesRequest>,
    ) -> Result<Response<ListAddressesResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.list(caller.user).await?))
    }

    async fn update_address(
        &self,
        request: Request<UpdateAddressRequest>,
    ) -> Result<Response<UpdateAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.update(caller.user, request.into_inner()).await?))
    }

    async fn set_default_address(
        &self,
        request: Request<SetDefaultAddressRequest>,
    ) -> Result<Response<SetDefaultAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.set_default(caller.user, request.into_inner()).await?))
    }

    async fn delete_address(
        &self,
        request: Request<DeleteAddressRequest>,
    ) -> Result<Response<DeleteAddressResponse>, Status> {
        let caller = Identity::of(&request)?;
        Ok(Response::new(self.addresses.delete(caller.user, request.into_inner()).await?))
    }
}

impl TryFrom<UpdateProfileRequest> for Update {
    type Error = Refusal;

    /// Reads what the mask names, and nothing else.
    fn try_from(request: UpdateProfileRequest) -> Result<Self, Refusal> {
        let profile = request.profile.unwrap_or_default();
        let paths = request.update_mask.unwrap_or_default().paths;
        let (mut update, mut faults) = (Self::default(), Faults::default());
        if paths.is_empty() {
            faults.check::<()>(Err(not_in_mask("want at least one field")));
        }
        for path in &paths {
            match path.as_str() {
                "name" => {
                    update.name = faults.check(Name::from_field("profile.name", &profile.name));
                }
                "phone" => {
                    update.phone = faults.check(Phone::from_field("profile.phone", &profile.phone));
                }
                "greeting" => {
                    let greeting = Greeting::from_field("profile.greeting", &profile.greeting);
                    update.greeting = faults.check(greeting);
                }
                "image_url" => {
                    let image_url = ImageUrl::from_field("profile.image_url", &profile.image_url);
                    update.image_url = faults.check(image_url);
                }
                "language" => update.language = faults.check(language(&profile)),
                // Once is enough for a mask of a thousand such paths, and none is repeated.
                _ => {
                    faults.check::<()>(Err(not_in_mask(
                        "want fields among name, phone, greeting, image_url and language",
                    )));
                    break;
                }
            }
        }
        if faults.is_empty() { Ok(update) } else { Err(faults.refusal()) }
    }
}

fn not_in_mask(want: &str) -> Refusal {
    Refusal::invalid("update_mask", want)
}

fn language(profile: &user_v1::Profile) -> Result<Language, Refusal> {
    match user_v1::Language::try_from(profile.language) {
        Ok(user_v1::Language::Unspecified | user_v1::Language::English) => Ok(Language::English),
        Ok(user_v1::Language::Korean) => Ok(Language::Korean),
        _ => Err(Refusal::invalid("profile.language", "want ENGLISH or KOREAN")),
    }
}

impl From<Profile> for user_v1::Profile {
    fn from(profile: Profile) -> Self {
        let language = match profile.language {
            Language::English => user_v1::Language::English,
            Language::Korean => user_v1::Language::Korean,
        };
        Self {
            user_id: profile.user.to_string(),
            email: profile.email.to_string(),
            name: profile.name.to_string(),
            phone: profile.phone.to_string(),
            greeting: profile.greeting.to_string(),
            image_url: profile.image_url.to_string(),
            language: language.into(),
            state: UserState::from(profile.state).into(),
            create_time: Some(timestamp::to_wire(profile.created_at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_names_what_is_set() {
        let profile = user_v1::Profile {
            name: "Ann".into(),
            phone: "12".into(),
            greeting: "hi".into(),
            image_url: "http://example.com".into(),
            language: user_v1::Language::Korean.into(),
            ..user_v1::Profile::default()
        };
        let read = |paths: &[&str]| {
            let paths = paths.iter().map(|&path| path.to_owned()).collect();
            let update_mask = Some(prost_types::FieldMask { paths });
            Update::try_from(UpdateProfileRequest { profile: Some(profile.clone()), update_mask })
        };
        let update = read(&["greeting", "language"]).expect("two good ones");
        assert_eq!(update.greeting.as_ref().map(Greeting::as_str), Some("hi"));
        assert_eq!(update.language, Some(Language::Korean));
        assert_eq!((update.name, update.phone, update.image_url), (None, None, None));

        let faults = |paths: &[&str]| -> Vec<String> {
            let refusal = read(paths).expect_err("a fault");
            refusal.violations.into_iter().map(|fault| fault.field).collect()
        };
        assert_eq!(faults(&["name", "phone", "image_url"]), ["profile.phone", "profile.image_url"]);
        for path in ["", "*", "email", "user_id", "state", "create_time", "profile.name", "Name"] {
            assert_eq!(faults(&["name", path]), ["update_mask"], "{path}");
        }
        assert_eq!(faults(&[]), ["update_mask"]);
    }
}
