//! AddressBookService: what order needs to know of where goods go.

use firstcome_proto::{
    AddressId, UserId,
    user_v1::{
        GetAddressRequest, GetAddressResponse, address_book_service_server::AddressBookService,
    },
};
use tonic::{Request, Response, Status};

use crate::address_book::AddressBook;

/// The service over the books.
pub struct Service(pub AddressBook);

#[tonic::async_trait]
impl AddressBookService for Service {
    async fn get_address(
        &self,
        request: Request<GetAddressRequest>,
    ) -> Result<Response<GetAddressResponse>, Status> {
        let request = request.into_inner();
        let user = UserId::from_wire("user_id", &request.user_id)?;
        let id = AddressId::from_wire("address_id", &request.address_id)?;
        let address = self.0.find(user, id).await?.to_wire();
        Ok(Response::new(GetAddressResponse { address: Some(address) }))
    }
}
